//! The built-in models, and what must be known to make one again.

mod cnn;
mod mlp;
mod predict;

use std::fmt;
use std::str::FromStr;

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};
use fl_datasets::{Column, Dataset, QuantityScaling, Scaling, Schema, Shape, Target};
use fl_protocol::metrics::{Metrics, Tally};
use serde::{Deserialize, Serialize};

pub use cnn::Cnn;
pub use mlp::Mlp;

use crate::task::check_schema;
use crate::{
    BurnTrainer, Classification, Compute, Layout, LocalTrainer, Part, Predictor, Regression,
    TrainError, Training,
};

/// The architecture of a built-in model. Written `cnn` or `mlp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelKind {
    /// A convolutional network, [`Cnn`]; for images of 4×4 pixels or more.
    Cnn,
    /// A multilayer perceptron, [`Mlp`]; for tables, and for any image as a row of pixels.
    Mlp,
}

impl ModelKind {
    /// The usual model for examples of this shape.
    pub fn for_shape(shape: Shape) -> Self {
        match shape {
            Shape::Image { height, width, .. } if height.min(width) >= Cnn::SHORTEST_SIDE => {
                Self::Cnn
            }
            Shape::Image { .. } | Shape::Table { .. } => Self::Mlp,
        }
    }
}

impl fmt::Display for ModelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cnn => "cnn",
            Self::Mlp => "mlp",
        })
    }
}

impl FromStr for ModelKind {
    type Err = TrainError;

    fn from_str(name: &str) -> Result<Self, TrainError> {
        match name {
            "cnn" => Ok(Self::Cnn),
            "mlp" => Ok(Self::Mlp),
            _ => Err(TrainError::ModelName { name: name.into() }),
        }
    }
}

/// A built-in model: its architecture, what goes in and what comes out.
///
/// Part of a federation's settings and of every checkpoint. Deserialising checks what
/// [`new`](Self::new) checks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "UncheckedSpec")]
pub struct ModelSpec {
    kind: ModelKind,
    schema: Schema,
    #[serde(skip_serializing_if = "Option::is_none")]
    scaling: Option<Scaling>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity: Option<QuantityScaling>,
}

impl ModelSpec {
    /// Returns a model of `kind` for data of `schema`, which has classes; it is scaled by `scaling`
    /// before it enters the model.
    ///
    /// # Errors
    ///
    /// Those of [`of_quantity`](Self::of_quantity), or the schema has a quantity.
    pub fn new(
        kind: ModelKind,
        schema: Schema,
        scaling: Option<Scaling>,
    ) -> Result<Self, TrainError> {
        Self::checked(kind, schema, scaling, None)
    }

    /// Returns a model of `kind` for data of `schema`, which has a quantity, scaled by `quantity`;
    /// all else is scaled by `scaling` before it enters the model.
    ///
    /// # Errors
    ///
    /// The model does not take examples of this shape, the scaling has another number of columns,
    /// there is none although values may be missing, or the schema has classes.
    pub fn of_quantity(
        kind: ModelKind,
        schema: Schema,
        scaling: Option<Scaling>,
        quantity: QuantityScaling,
    ) -> Result<Self, TrainError> {
        Self::checked(kind, schema, scaling, Some(quantity))
    }

    fn checked(
        kind: ModelKind,
        schema: Schema,
        scaling: Option<Scaling>,
        quantity: Option<QuantityScaling>,
    ) -> Result<Self, TrainError> {
        if schema.quantity().is_some() != quantity.is_some() {
            return Err(TrainError::QuantityScaling);
        }
        let shape = schema.shape();
        if kind == ModelKind::Cnn && ModelKind::for_shape(shape) != ModelKind::Cnn {
            return Err(TrainError::ModelShape { shape });
        }
        let columns = scaling.as_ref().map(|scaling| scaling.mean().len());
        if let Some(columns) = columns.filter(|&columns| columns != shape.size()) {
            return Err(TrainError::ScalingShape { columns, shape });
        }
        // The mean that stands in for a missing value is the scaling's.
        if scaling.is_none() && schema.columns().iter().any(Column::has_gaps) {
            return Err(TrainError::GapsWithoutScaling);
        }
        Ok(Self {
            kind,
            schema,
            scaling,
            quantity,
        })
    }

    /// Returns a model for data like `training`: of `kind`, or of the usual one for examples of
    /// this shape. Tables and quantities are standardised by the means and deviations of
    /// `training`.
    ///
    /// # Errors
    ///
    /// The model does not take examples of this shape, or there are none to take means of.
    pub fn for_data(training: &Dataset, kind: Option<ModelKind>) -> Result<Self, TrainError> {
        let shape = training.schema().shape();
        let failed = |source: fl_datasets::Error| TrainError::Scaling {
            part: Part::Training,
            source: source.into(),
        };
        let scaling = match shape {
            Shape::Table { .. } => Some(Scaling::fit(training).map_err(failed)?),
            Shape::Image { .. } => None,
        };
        let quantity = match training.schema().target() {
            Target::Classes(_) => None,
            Target::Quantity(_) => Some(QuantityScaling::fit(training).map_err(failed)?),
        };
        let kind = kind.unwrap_or_else(|| ModelKind::for_shape(shape));
        Self::checked(kind, training.schema().clone(), scaling, quantity)
    }

    /// Returns the architecture.
    pub fn kind(&self) -> ModelKind {
        self.kind
    }

    /// Shape of an example and names of the classes.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Returns how the columns of a table are scaled, if they are.
    pub fn scaling(&self) -> Option<&Scaling> {
        self.scaling.as_ref()
    }

    /// Returns how the quantity is scaled that the model predicts, if it is one.
    pub fn quantity(&self) -> Option<&QuantityScaling> {
        self.quantity.as_ref()
    }

    /// Returns what evaluations of the model count.
    pub fn metrics(&self) -> Metrics {
        match &self.quantity {
            None => Metrics::of_classes(self.schema.classes().len()),
            Some(scaling) => Metrics::Quantity {
                deviation: scaling.deviation(),
            },
        }
    }

    /// Returns the number of the model's outputs.
    fn outputs(&self) -> usize {
        match self.schema.target() {
            Target::Classes(classes) => classes.len(),
            Target::Quantity(_) => 1,
        }
    }

    /// Returns the layout of the model's flat vector.
    ///
    /// # Errors
    ///
    /// The model has too many parameters.
    pub fn layout(&self) -> Result<Layout, TrainError> {
        let device = Device::flex();
        let (features, outputs) = (self.schema.shape().size(), self.outputs());
        match self.image() {
            Some(image) => Layout::of(&Cnn::new(image, outputs, &device)),
            None => Layout::of(&Mlp::new(features, outputs, &device)),
        }
    }

    /// A trainer of this model, on a device of Burn's or a GPU, with one participant's data, which
    /// is scaled here.
    ///
    /// # Errors
    ///
    /// The data has another schema or cannot be scaled, a training setting is out of its range, the
    /// model has too many parameters, or the GPU fails.
    pub fn trainer(
        &self,
        training: Dataset,
        test: Dataset,
        settings: Training,
        compute: impl Into<Compute>,
    ) -> Result<Box<dyn LocalTrainer>, TrainError> {
        let compute = compute.into();
        let data = [
            self.scale(Part::Training, training)?,
            self.scale(Part::Test, test)?,
        ];
        for (part, data) in [Part::Training, Part::Test].iter().zip(&data) {
            compute.check_reach(format_args!("{part} set"), data.features().len())?;
        }
        let (features, outputs) = (self.schema.shape().size(), self.outputs());
        match self.image() {
            Some(image) => {
                let init = move |device: &Device| Cnn::new(image, outputs, device);
                self.boxed(init, &data, settings, compute)
            }
            None => {
                let init = move |device: &Device| Mlp::new(features, outputs, device);
                self.boxed(init, &data, settings, compute)
            }
        }
    }

    /// Makes the trainer of modules that `init` makes, with data that is scaled.
    fn boxed<M: Predictor + 'static>(
        &self,
        init: impl Fn(&Device) -> M + Send + 'static,
        [training, test]: &[Dataset; 2],
        settings: Training,
        compute: Compute,
    ) -> Result<Box<dyn LocalTrainer>, TrainError> {
        let device = compute.device();
        Ok(match self.quantity {
            None => {
                let task = || Classification::new(init, training, test, device);
                let task = compute.run(task)?;
                Box::new(BurnTrainer::new(task, settings, compute)?)
            }
            Some(scaling) => {
                let task = || Regression::new(init, training, test, scaling, device);
                let task = compute.run(task)?;
                Box::new(BurnTrainer::new(task, settings, compute)?)
            }
        })
    }

    /// Evaluates `parameters` on `data`, on a device of Burn's or a GPU.
    ///
    /// # Errors
    ///
    /// The data has another schema or cannot be scaled, the parameters do not fit the model or are
    /// not finite, or the GPU fails.
    pub fn evaluate(
        &self,
        parameters: &[f32],
        data: Dataset,
        compute: impl Into<Compute>,
    ) -> Result<Tally, TrainError> {
        self.trainer(data.select(&[]), data, Training::default(), compute)?
            .evaluate(parameters)
    }

    /// Returns what a model of these `parameters` predicts of each example of `data`, row-major:
    /// the probability of each class, `[examples, classes]`, or the quantity in its unit,
    /// `[examples]`. Labels do not count.
    ///
    /// # Errors
    ///
    /// The data has another schema or cannot be scaled, the parameters do not fit the model or are
    /// not finite, or the GPU fails.
    pub fn predict(
        &self,
        parameters: &[f32],
        data: Dataset,
        compute: impl Into<Compute>,
    ) -> Result<Vec<f32>, TrainError> {
        let data = self.scale(Part::Test, data)?;
        let compute = compute.into();
        let (features, outputs) = (self.schema.shape().size(), self.outputs());
        let finish = |outputs: Tensor<2>| match self.quantity {
            None => softmax(outputs, 1),
            Some(_) => outputs,
        };
        let mut predicted = match self.image() {
            Some(image) => {
                let init = |device: &Device| Cnn::new(image, outputs, device);
                predict::predicted(init, finish, &data, parameters, &compute)
            }
            None => {
                let init = |device: &Device| Mlp::new(features, outputs, device);
                predict::predicted(init, finish, &data, parameters, &compute)
            }
        }?;
        if let Some(scaling) = &self.quantity {
            for value in &mut predicted {
                *value = scaling.restore(*value);
            }
        }
        Ok(predicted)
    }

    fn scale(&self, part: Part, data: Dataset) -> Result<Dataset, TrainError> {
        check_schema(part, data.schema(), &self.schema)?;
        match &self.scaling {
            Some(scaling) => scaling.apply(data).map_err(|source| TrainError::Scaling {
                part,
                source: source.into(),
            }),
            None => Ok(data),
        }
    }

    /// Returns the sizes of an image, if the model is a [`Cnn`]; [`new`](Self::new) saw that they
    /// fit.
    fn image(&self) -> Option<[usize; 3]> {
        match (self.kind, self.schema.shape()) {
            (
                ModelKind::Cnn,
                Shape::Image {
                    channels,
                    height,
                    width,
                },
            ) => Some([channels, height, width]),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UncheckedSpec {
    kind: ModelKind,
    schema: Schema,
    scaling: Option<Scaling>,
    quantity: Option<QuantityScaling>,
}

impl TryFrom<UncheckedSpec> for ModelSpec {
    type Error = TrainError;

    fn try_from(
        UncheckedSpec {
            kind,
            schema,
            scaling,
            quantity,
        }: UncheckedSpec,
    ) -> Result<Self, TrainError> {
        Self::checked(kind, schema, scaling, quantity)
    }
}

#[cfg(test)]
mod tests {
    use fl_protocol::metrics::likeliest;

    use super::*;

    fn schema(shape: Shape) -> Schema {
        Schema::new(shape, vec![], vec!["no".into(), "yes".into()]).unwrap()
    }

    fn image(channels: usize, height: usize, width: usize) -> Shape {
        Shape::Image {
            channels,
            height,
            width,
        }
    }

    #[test]
    fn each_shape_has_a_model_and_each_model_a_name() {
        assert_eq!(ModelKind::for_shape(image(1, 8, 8)), ModelKind::Cnn);
        assert_eq!(ModelKind::for_shape(image(1, 3, 8)), ModelKind::Mlp);
        assert_eq!(
            ModelKind::for_shape(Shape::Table { columns: 30 }),
            ModelKind::Mlp
        );
        for kind in [ModelKind::Cnn, ModelKind::Mlp] {
            assert_eq!(kind.to_string().parse::<ModelKind>().unwrap(), kind);
        }
        assert!(matches!(
            "vit".parse::<ModelKind>(),
            Err(TrainError::ModelName { .. })
        ));
    }

    #[test]
    fn every_model_scores_every_shape_that_it_takes() {
        let shapes = [
            image(1, 4, 4),
            image(1, 28, 28),
            image(3, 5, 17),
            image(2, 64, 40),
        ];
        let table = Shape::Table { columns: 1 };
        for (kind, shape) in shapes
            .into_iter()
            .flat_map(|shape| [(ModelKind::Cnn, shape), (ModelKind::Mlp, shape)])
            .chain([(ModelKind::Mlp, table)])
        {
            let schema = schema(shape);
            let data =
                Dataset::new(schema.clone(), vec![0.5; 2 * shape.size()], vec![0, 1]).unwrap();
            let spec = ModelSpec::new(kind, schema, None).unwrap();
            let mut trainer = spec
                .trainer(data.clone(), data, Training::default(), Device::flex())
                .unwrap();
            assert_eq!(*trainer.layout(), spec.layout().unwrap());
            let global = trainer.initial().unwrap();
            assert_eq!(
                trainer.evaluate(&global).unwrap().examples(),
                2,
                "{kind} {shape}"
            );
        }
    }

    #[test]
    fn the_layout_of_the_digits_network() {
        let spec = ModelSpec::new(ModelKind::Cnn, schema(image(1, 8, 8)), None).unwrap();
        let layout = spec.layout().unwrap();
        let tensors: Vec<_> = layout
            .tensors()
            .iter()
            .map(|t| format!("{} {:?}", t.name, t.shape))
            .collect();
        assert_eq!(
            tensors,
            [
                "convolutions.0.weight [16, 1, 3, 3]",
                "convolutions.0.bias [16]",
                "convolutions.1.weight [32, 16, 3, 3]",
                "convolutions.1.bias [32]",
                "output.weight [128, 2]",
                "output.bias [2]",
            ]
        );
    }

    #[test]
    fn refuses_shapes_and_scalings_that_do_not_fit() {
        for shape in [image(1, 3, 9), Shape::Table { columns: 16 }] {
            let spec = ModelSpec::new(ModelKind::Cnn, schema(shape), None);
            assert!(matches!(spec, Err(TrainError::ModelShape { .. })));
        }
        let scaling = Scaling::new(vec![0.0; 3], vec![1.0; 3]).unwrap();
        let table = schema(Shape::Table { columns: 2 });
        let spec = ModelSpec::new(ModelKind::Mlp, table, Some(scaling));
        assert!(matches!(
            spec,
            Err(TrainError::ScalingShape { columns: 3, .. })
        ));
    }

    #[test]
    fn the_usual_model_for_data_standardises_tables_and_leaves_images() {
        let data = |shape: Shape| {
            let features = (0..2 * shape.size()).map(|i| i as f32).collect();
            Dataset::new(schema(shape), features, vec![0, 1]).unwrap()
        };
        let table = data(Shape::Table { columns: 3 });
        let scaling = Scaling::fit(&table).unwrap();
        assert_eq!(
            ModelSpec::for_data(&table, None).unwrap(),
            ModelSpec::new(ModelKind::Mlp, table.schema().clone(), Some(scaling)).unwrap()
        );
        let picture = data(image(1, 8, 8));
        for (asked, kind) in [
            (None, ModelKind::Cnn),
            (Some(ModelKind::Mlp), ModelKind::Mlp),
        ] {
            assert_eq!(
                ModelSpec::for_data(&picture, asked).unwrap(),
                ModelSpec::new(kind, picture.schema().clone(), None).unwrap()
            );
        }
        assert!(matches!(
            ModelSpec::for_data(&table.select(&[]), None),
            Err(TrainError::Scaling { .. })
        ));
    }

    #[test]
    fn refuses_data_of_another_schema() {
        let spec = ModelSpec::new(ModelKind::Cnn, schema(image(1, 8, 8)), None).unwrap();
        let other = schema(Shape::Table { columns: 64 });
        let data = Dataset::new(other, vec![0.0; 64], vec![0]).unwrap();
        let trainer = spec.trainer(data.clone(), data, Training::default(), Device::flex());
        assert!(matches!(
            trainer.err(),
            Some(TrainError::OtherData {
                part: Part::Training,
                ..
            })
        ));
    }

    #[test]
    fn scales_the_data_before_it_enters_the_model() {
        let table = schema(Shape::Table { columns: 2 });
        let raw = Dataset::new(table.clone(), vec![100.0, 7.0, 300.0, 9.0], vec![0, 1]).unwrap();
        let scaling = Scaling::fit(&raw).unwrap();
        let scaled = scaling.apply(raw.clone()).unwrap();
        let with = ModelSpec::new(ModelKind::Mlp, table.clone(), Some(scaling)).unwrap();
        let without = ModelSpec::new(ModelKind::Mlp, table, None).unwrap();
        let parameters: Vec<f32> = (0..with.layout().unwrap().len())
            .map(|i| (i as f32).sin())
            .collect();
        let evaluate = |spec: &ModelSpec, data: &Dataset| {
            spec.evaluate(&parameters, data.clone(), Device::flex())
                .unwrap()
        };
        assert_eq!(evaluate(&with, &raw), evaluate(&without, &scaled));
        assert_ne!(evaluate(&with, &raw), evaluate(&without, &raw));
    }

    #[test]
    fn probabilities_are_those_by_which_a_model_is_evaluated() {
        for shape in [image(1, 4, 4), Shape::Table { columns: 3 }] {
            let rows = 300;
            let features = (0..rows * shape.size()).map(|i| (i as f32).sin().abs());
            let labels = [0, 1].into_iter().cycle().take(rows).collect();
            let data = Dataset::new(schema(shape), features.collect(), labels).unwrap();
            let spec = ModelSpec::for_data(&data, None).unwrap();
            let parameters: Vec<f32> = (0..spec.layout().unwrap().len())
                .map(|i| (i as f32).cos() / 3.0)
                .collect();
            let evaluation = spec.evaluate(&parameters, data.clone(), Device::flex());
            let evaluation = evaluation.unwrap();
            let given = spec.predict(&parameters, data.clone(), Device::flex());
            let given = given.unwrap();
            let pairs = || given.chunks_exact(2).zip(data.labels());
            assert!(pairs().all(|(row, _)| (row[0] + row[1] - 1.0).abs() < 1e-5));
            let of_label = |(row, label): (&[f32], &u32)| f64::from(row[*label as usize]);
            let loss: f64 = pairs().map(|pair| -of_label(pair).ln()).sum();
            let loss = loss / rows as f64;
            assert!((loss - evaluation.loss().unwrap()).abs() < 1e-4, "{loss}");
            let is_right = |(row, label): (&[f32], &u32)| likeliest(row) == *label as usize;
            let right = pairs().filter(|pair| is_right(*pair)).count();
            assert_eq!(evaluation.accuracy(), Some(right as f64 / rows as f64));
        }
    }

    #[test]
    fn serialises_and_is_checked_on_the_way_in() {
        let spec = ModelSpec::new(ModelKind::Cnn, schema(image(1, 8, 8)), None).unwrap();
        let json = serde_json::to_string(&spec).unwrap();
        assert!(json.starts_with(r#"{"kind":"cnn","schema":{"#), "{json}");
        assert_eq!(serde_json::from_str::<ModelSpec>(&json).unwrap(), spec);
        let narrow = json.replace("[1,8,8]", "[1,8,2]");
        assert!(serde_json::from_str::<ModelSpec>(&narrow).is_err());
    }
}
