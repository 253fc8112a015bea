//! How long things take.

use std::ops::Range;
use std::time::Duration;

/// How long things take. A duration is the most that something takes, a range says the least as
/// well.
#[derive(Clone, Debug)]
pub struct Timing {
    /// What is under way. Each stream of a connection keeps its order.
    pub latency: Duration,
    /// How long the relay takes to notice that a connection is gone.
    pub notice: Duration,
    /// How long a node waits before it connects again.
    pub reconnect: Range<Duration>,
    /// Training, to which the time for other work comes.
    pub training: Duration,
    /// A node's work.
    pub work: Range<Duration>,
    /// The relay's average.
    pub averaging: Duration,
    /// How often the relay's clock ticks.
    pub tick: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            latency: ms(300),
            notice: ms(4000),
            reconnect: ms(200)..ms(3200),
            training: ms(4800),
            work: ms(200)..ms(1200),
            averaging: ms(1000),
            tick: ms(500),
        }
    }
}

impl Timing {
    /// Everything takes place at once, one thing after the other. Nodes connect again, and the
    /// relay's clock ticks, only when there is nothing else to do.
    pub fn instant() -> Self {
        let pause = Duration::from_secs(5);
        Self {
            latency: Duration::ZERO,
            notice: Duration::ZERO,
            reconnect: pause..pause,
            training: Duration::ZERO,
            work: Duration::ZERO..Duration::ZERO,
            averaging: Duration::ZERO,
            tick: pause,
        }
    }
}
