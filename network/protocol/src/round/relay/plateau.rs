//! Whether the model still gets better.

/// How long the model has not got better, by the mean loss on what all participants hold back.
///
/// A round tells the loss of the model before it. It counts once the next one is complete, since
/// nodes may have its result taken back until then.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Plateau {
    settled: Stretch,
    last: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    lowest: Option<f64>,
    /// Rounds since the lowest.
    rounds: u64,
}

impl Stretch {
    fn with(self, loss: Option<f64>) -> Self {
        let Some(loss) = loss else {
            return self;
        };
        match self.lowest.is_none_or(|lowest| loss < lowest) {
            true => Self {
                lowest: Some(loss),
                rounds: 0,
            },
            false => Self {
                rounds: self.rounds + 1,
                ..self
            },
        }
    }
}

impl Plateau {
    /// Takes in what a round tells, which may have no loss.
    pub(super) fn add(&mut self, loss: Option<f64>) {
        self.settled = self.settled.with(self.last);
        self.last = loss;
    }

    /// The result of the last round is taken back.
    pub(super) fn take_back(&mut self) {
        self.last = None;
    }

    /// Returns for how many rounds the loss has not been lower than before.
    pub(super) fn rounds(&self) -> u64 {
        self.settled.with(self.last).rounds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_count_since_the_lowest_loss() {
        let mut plateau = Plateau::default();
        let mut after = |loss: f64| {
            plateau.add(Some(loss));
            plateau.rounds()
        };
        let rounds = [0.9, 0.5, 0.5, 0.7, 0.4, f64::NAN, 0.6].map(&mut after);
        assert_eq!(rounds, [0, 0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_round_that_is_taken_back_and_one_without_a_loss_do_not_count() {
        let mut plateau = Plateau::default();
        plateau.add(Some(0.5));
        plateau.add(Some(0.6));
        assert_eq!(plateau.rounds(), 1);
        plateau.take_back();
        assert_eq!(plateau.rounds(), 0);
        plateau.add(Some(0.4));
        plateau.add(None);
        plateau.add(Some(0.3));
        assert_eq!(plateau.rounds(), 0);
    }
}
