//! The settings of local training.

use burn::grad_clipping::GradientClippingConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, ModuleOptimizer, SgdConfig};
use serde::{Deserialize, Serialize};

use crate::TrainError;

/// Norm to which gradient descent shortens the gradient of each tensor that is longer. Without a
/// limit the first steps of a network that is still random can throw it where no gradient leads
/// back.
const LARGEST_GRADIENT: f32 = 1.0;

/// How a node trains in one round. The same on every node of a federation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Training {
    /// The rule that turns gradients into steps.
    pub optimizer: Optimizer,
    /// Factor of a step, above 0.
    pub learning_rate: f64,
    /// Examples per step, at least 1. The last batch of an epoch holds what is left.
    pub batch_size: usize,
    /// Passes over the local training set in one round, at least 1.
    pub epochs: usize,
    /// Seed of the initial parameters. It is no secret; the order of the examples follows from an
    /// [`OrderSeed`](crate::OrderSeed).
    pub seed: u64,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            optimizer: Optimizer::Sgd { momentum: 0.9 },
            learning_rate: 0.03,
            batch_size: 16,
            epochs: 3,
            seed: 42,
        }
    }
}

impl Training {
    /// Fails on the first setting out of its range.
    pub fn check(&self) -> Result<(), TrainError> {
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return out_of_range(
                "learning_rate",
                self.learning_rate,
                "a finite number above 0",
            );
        }
        if self.batch_size == 0 {
            return out_of_range("batch_size", self.batch_size, "at least 1");
        }
        if self.epochs == 0 {
            return out_of_range("epochs", self.epochs, "at least 1");
        }
        match self.optimizer {
            Optimizer::Sgd { momentum } if !(0.0..1.0).contains(&momentum) => {
                out_of_range("momentum", momentum, "from 0 to below 1")
            }
            Optimizer::Sgd { .. } | Optimizer::Adam => Ok(()),
        }
    }
}

fn out_of_range(
    setting: &'static str,
    value: impl ToString,
    range: &'static str,
) -> Result<(), TrainError> {
    Err(TrainError::Setting {
        setting,
        value: value.to_string(),
        range,
    })
}

/// A first-order optimizer. Its state starts anew in every round, as in federated averaging
/// (McMahan et al., <https://arxiv.org/abs/1602.05629>, algorithm 1): only parameters are shared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Optimizer {
    /// Stochastic gradient descent with heavy-ball momentum, without dampening. The gradient of
    /// each tensor is shortened to norm 1 where it is longer.
    Sgd {
        /// Share of the last step that is kept, from 0 (none) to below 1.
        momentum: f64,
    },
    /// Adam (Kingma and Ba, <https://arxiv.org/abs/1412.6980>) with its usual decay rates, 0.9 and
    /// 0.999.
    Adam,
}

impl Optimizer {
    /// Returns the optimizer without any state.
    pub(crate) fn init(&self) -> ModuleOptimizer {
        match *self {
            Self::Sgd { momentum } => {
                let momentum = (momentum > 0.0).then(|| {
                    MomentumConfig::new()
                        .with_momentum(momentum)
                        .with_dampening(0.0)
                });
                SgdConfig::new()
                    .with_momentum(momentum)
                    .with_gradient_clipping(Some(GradientClippingConfig::Norm(LARGEST_GRADIENT)))
                    .init()
            }
            Self::Adam => AdamConfig::new().with_epsilon(1e-8).init(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_missing_settings_take_them() {
        Training::default().check().unwrap();
        let parsed: Training = serde_json::from_str("{}").unwrap();
        assert_eq!(parsed, Training::default());
    }

    #[test]
    fn serialises_and_parses_back_and_refuses_unknown_settings() {
        let training = Training {
            optimizer: Optimizer::Adam,
            ..Training::default()
        };
        let json = serde_json::to_string(&training).unwrap();
        assert!(json.contains(r#""optimizer":"adam""#), "{json}");
        assert_eq!(serde_json::from_str::<Training>(&json).unwrap(), training);
        assert!(serde_json::from_str::<Training>(r#"{"epoch":1}"#).is_err());
    }

    #[test]
    fn names_the_setting_that_is_out_of_range() {
        let name = |training: Training| match training.check() {
            Err(TrainError::Setting { setting, .. }) => setting,
            other => panic!("{other:?}"),
        };
        let good = Training::default();
        for learning_rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(
                name(Training {
                    learning_rate,
                    ..good
                }),
                "learning_rate"
            );
        }
        assert_eq!(
            name(Training {
                batch_size: 0,
                ..good
            }),
            "batch_size"
        );
        assert_eq!(name(Training { epochs: 0, ..good }), "epochs");
        for momentum in [-0.1, 1.0, f64::NAN] {
            let optimizer = Optimizer::Sgd { momentum };
            assert_eq!(name(Training { optimizer, ..good }), "momentum");
        }
    }
}
