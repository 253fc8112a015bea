//! A multilayer perceptron for tables.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use crate::Predictor;

/// Neurons in each hidden layer.
const HIDDEN: usize = 64;

/// Two hidden layers of 64 rectified neurons.
#[derive(Module, Debug)]
pub struct Mlp {
    hidden: [Linear; 2],
    output: Linear,
}

impl Mlp {
    /// Returns a network for rows of `columns` numbers.
    pub fn new(columns: usize, outputs: usize, device: &Device) -> Self {
        let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        Self {
            hidden: [linear(columns, HIDDEN), linear(HIDDEN, HIDDEN)],
            output: linear(HIDDEN, outputs),
        }
    }
}

impl Predictor for Mlp {
    fn outputs(&self, features: Tensor<2>) -> Tensor<2> {
        let hidden = self
            .hidden
            .iter()
            .fold(features, |x, layer| relu(layer.forward(x)));
        self.output.forward(hidden)
    }
}
