//! A convolutional network for images.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use crate::Predictor;

/// Channels after the first block; each further block doubles them, up to [`MOST_CHANNELS`].
const FIRST_CHANNELS: usize = 16;
const MOST_CHANNELS: usize = 128;

/// Convolution, rectifier and 2×2 maximum pooling, repeated, then one linear layer.
///
/// A block halves the image; there are as many as leave the shorter side below 4: two for 8×8,
/// three for 28×28, six for 224×224. There is no batch normalisation, whose statistics suffer when
/// nodes hold different classes.
#[derive(Module, Debug)]
pub struct Cnn {
    convolutions: Vec<Conv2d>,
    pool: MaxPool2d,
    output: Linear,
    image: [usize; 3],
}

impl Cnn {
    /// The shortest side of an image that the network takes, in pixels.
    pub const SHORTEST_SIDE: usize = 4;

    /// Returns a network for images of `[channels, height, width]`, the sides at least
    /// [`SHORTEST_SIDE`](Self::SHORTEST_SIDE).
    pub fn new(image: [usize; 3], outputs: usize, device: &Device) -> Self {
        let [mut channels, mut height, mut width] = image;
        let mut convolutions = Vec::new();
        let mut wider = FIRST_CHANNELS;
        while height.min(width) >= Self::SHORTEST_SIDE {
            convolutions.push(
                Conv2dConfig::new([channels, wider], [3, 3])
                    .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                    .init(device),
            );
            channels = wider;
            wider = (2 * wider).min(MOST_CHANNELS);
            height /= 2;
            width /= 2;
        }
        Self {
            convolutions,
            pool: MaxPool2dConfig::new([2, 2]).init(),
            output: LinearConfig::new(channels * height * width, outputs).init(device),
            image,
        }
    }
}

impl Predictor for Cnn {
    fn outputs(&self, features: Tensor<2>) -> Tensor<2> {
        let [batch, _] = features.dims();
        let [channels, height, width] = self.image;
        let mut x = features.reshape([batch, channels, height, width]);
        for convolution in &self.convolutions {
            x = relu(self.pool.forward(convolution.forward(x)));
        }
        self.output.forward(x.flatten(1, 3))
    }
}
