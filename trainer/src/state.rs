//! The way between a Burn module and its flat parameter vector.
//!
//! A module's state is every float tensor that Burn's visitor reaches: trainable and frozen
//! parameters, and buffers such as the running mean and variance of a batch normalisation. All of
//! it is averaged, for a node that kept its own running statistics would hold another model than
//! its peers. Integer and boolean tensors, and tensors held outside a parameter, are constants.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{FloatDType, Tensor, TensorReadError};

use crate::{TensorLayout, TrainError};

/// Returns the float tensors of a module in the order in which the fields are declared, depth
/// first.
pub(crate) fn survey<M: Module>(module: &M) -> Vec<TensorLayout> {
    let mut survey = Survey::default();
    module.visit(&mut survey);
    survey.tensors
}

/// Returns the state of a module as one flat vector on its device.
pub(crate) fn join<M: Module>(module: &M) -> Tensor<1> {
    let mut join = Join::default();
    // A training module still holds back the last update of its running statistics; `valid`
    // takes it in.
    module.valid().visit(&mut join);
    Tensor::cat(join.parts, 0)
}

/// Returns a copy of `module`, in evaluation mode, whose state is a flat vector of its length.
pub(crate) fn part<M: Module>(module: &M, flat: &Tensor<1>) -> M {
    let mut part = FlatPart { flat, next: 0 };
    // Clones of a module share their running statistics, so mapping a clone would write into
    // `module`; `valid` makes a copy of its own.
    module.valid().map(&mut part)
}

/// Where in the module tree a visitor is.
#[derive(Default)]
struct Path(Vec<String>);

impl Path {
    fn name(&self) -> String {
        self.0.join(".")
    }
}

/// Collects names and shapes without initialising a lazy parameter.
#[derive(Default)]
struct Survey {
    path: Path,
    tensors: Vec<TensorLayout>,
}

impl ModuleVisitor for Survey {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.0.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.0.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.tensors.push(TensorLayout {
            name: self.path.name(),
            shape: param.lazy_shape().to_vec(),
        });
    }
}

/// Collects each tensor as a row of values.
#[derive(Default)]
struct Join {
    parts: Vec<Tensor<1>>,
}

impl ModuleVisitor for Join {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let values = param.val();
        if values.shape().num_elements() > 0 {
            let row: Tensor<1> = values.reshape([-1]);
            self.parts.push(row.cast(FloatDType::F32));
        }
    }
}

/// Replaces each tensor by the next part of a flat vector, for a module that was checked.
struct FlatPart<'a> {
    flat: &'a Tensor<1>,
    next: usize,
}

impl ModuleMapper for FlatPart<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape = param.lazy_shape();
        let start = self.next;
        self.next += shape.num_elements();
        if start == self.next {
            return param;
        }
        let values = self.flat.clone().slice(start..self.next);
        param.map(|old| {
            values
                .reshape(shape)
                .to_device(&old.device())
                .cast(old.dtype())
        })
    }
}

/// Reads the values of a vector off its device.
pub(crate) fn read(flat: Tensor<1>) -> Result<Vec<f32>, TrainError> {
    flat.try_into_vec_as().map_err(failed("the parameters"))
}

/// The error of a device that does not hand over `what`.
pub(crate) fn failed(what: &'static str) -> impl Fn(TensorReadError) -> TrainError {
    move |source| TrainError::Device { what, source }
}

#[cfg(test)]
mod tests {
    use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::Layout;

    #[derive(Module, Debug)]
    struct Block {
        linear: Linear,
        norm: BatchNorm,
    }

    #[derive(Module, Debug)]
    struct Net {
        blocks: Vec<Block>,
        scale: Param<Tensor<1>>,
        skip: Option<Linear>,
        out: Linear,
    }

    fn net(device: &Device) -> Net {
        let block = |inputs, outputs| Block {
            linear: LinearConfig::new(inputs, outputs).init(device),
            norm: BatchNormConfig::new(outputs).init(device),
        };
        Net {
            blocks: vec![block(3, 4), block(4, 5)],
            scale: Param::from_tensor(Tensor::ones([5], device)),
            skip: None,
            out: LinearConfig::new(5, 2).with_bias(false).init(device),
        }
    }

    fn forward(net: &Net, mut x: Tensor<2>) -> Tensor<2> {
        for block in &net.blocks {
            x = block.norm.forward(block.linear.forward(x));
        }
        net.out.forward(x * net.scale.val().unsqueeze())
    }

    fn names(layout: &Layout) -> Vec<&str> {
        layout.tensors().iter().map(|t| t.name.as_str()).collect()
    }

    #[test]
    fn the_layout_names_every_float_tensor_in_declaration_order() {
        let layout = Layout::of(&net(&Device::flex())).unwrap();
        assert_eq!(
            names(&layout),
            [
                "blocks.0.linear.weight",
                "blocks.0.linear.bias",
                "blocks.0.norm.gamma",
                "blocks.0.norm.beta",
                "blocks.0.norm.running_mean",
                "blocks.0.norm.running_var",
                "blocks.1.linear.weight",
                "blocks.1.linear.bias",
                "blocks.1.norm.gamma",
                "blocks.1.norm.beta",
                "blocks.1.norm.running_mean",
                "blocks.1.norm.running_var",
                "scale",
                "out.weight",
            ]
        );
        assert_eq!(layout.tensors()[0].shape, [3, 4]);
        assert_eq!(layout.len(), 3 * 4 + 5 * 4 + 4 * 5 + 5 * 5 + 5 + 5 * 2);
    }

    #[test]
    fn unflatten_then_flatten_gives_the_same_bits_and_leaves_the_module_alone() {
        let net = net(&Device::flex());
        let layout = Layout::of(&net).unwrap();
        let before = layout.flatten(&net).unwrap();
        let flat: Vec<f32> = (0..layout.len()).map(|i| (i as f32).sin()).collect();
        let other = layout.unflatten(&net, &flat).unwrap();
        assert_eq!(layout.flatten(&other).unwrap(), flat);
        assert_eq!(layout.flatten(&other.train()).unwrap(), flat);
        assert_eq!(layout.flatten(&net).unwrap(), before);
    }

    #[test]
    fn each_value_of_the_flat_vector_reaches_the_tensor_that_the_layout_names() {
        let net = net(&Device::flex());
        let layout = Layout::of(&net).unwrap();
        let mut flat = layout.flatten(&net).unwrap();
        let index = (0..flat.len())
            .find(|&i| layout.tensor_at(i).unwrap().name == "blocks.1.norm.running_var")
            .unwrap();
        flat[index + 2] = 7.5;
        let changed = layout.unflatten(&net, &flat).unwrap();
        let variance = changed.blocks[1].norm.running_var.value();
        assert_eq!(
            variance.try_into_vec_as::<f32>().unwrap(),
            [1.0, 1.0, 7.5, 1.0, 1.0]
        );
    }

    #[test]
    fn running_statistics_of_a_training_step_are_in_the_flat_vector() {
        let device = Device::flex();
        let net = net(&device);
        let layout = Layout::of(&net).unwrap();
        let before = layout.flatten(&net).unwrap();
        let x = Tensor::<2>::random([8, 3], Distribution::Default, &device);

        // Control: evaluation changes nothing.
        forward(&net.valid(), x.clone());
        assert_eq!(layout.flatten(&net).unwrap(), before);

        // One forward pass in training mode changes the statistics and nothing else.
        let training = net.valid().train();
        forward(&training, x.autodiff());
        let after = layout.flatten(&training).unwrap();
        for (index, (before, after)) in before.iter().zip(&after).enumerate() {
            let name = &layout.tensor_at(index).unwrap().name;
            assert_eq!(before != after, name.contains("running"), "{name}");
        }
    }

    #[test]
    fn refuses_a_module_of_another_layout() {
        let device = Device::flex();
        let layout = Layout::of(&net(&device)).unwrap();
        let other = LinearConfig::new(2, 2).init(&device);
        assert!(matches!(
            layout.flatten(&other),
            Err(TrainError::OtherLayout)
        ));
        assert!(matches!(
            layout.unflatten(&other, &vec![0.0; layout.len()]).err(),
            Some(TrainError::OtherLayout)
        ));
    }
}
