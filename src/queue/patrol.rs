//! Finds a consumer that is silently dead: it hears nothing although the queue holds messages.

use std::time::Duration;

use lapin::Connection;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};

use super::{
    Options,
    connect::{Trouble, open_channel},
    topology,
};

/// How often a consumer that hears nothing looks at its queue.
const EVERY: Duration = Duration::from_secs(5);
/// How long the broker may take to answer. Longer than that, it is as good as gone.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// The looks at the queue of one consumer.
pub(super) struct Patrol {
    ticks: Interval,
    /// Nothing was delivered since the last look.
    silent: bool,
    /// The last look found messages that nobody delivered to us.
    suspicious: bool,
}

impl Patrol {
    pub(super) fn new() -> Self {
        let mut ticks = interval_at(Instant::now() + EVERY, EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ticks, silent: true, suspicious: false }
    }

    /// Waits until a look is due. May be dropped at any time.
    pub(super) async fn due(&mut self) {
        self.ticks.tick().await;
    }

    /// Something was delivered.
    pub(super) fn heard(&mut self) {
        (self.silent, self.suspicious) = (false, false);
    }

    /// Looks at the queue if nothing came since the last look. Errors when messages wait there and the broker counts no
    /// consumer, or delivered nothing between two such looks.
    pub(super) async fn look(&mut self, connection: &Connection, options: &Options) -> Result<(), Trouble> {
        if !std::mem::replace(&mut self.silent, true) {
            return Ok(());
        }
        let asking = async {
            // On a channel of its own: a refusal closes it.
            let channel = open_channel(connection).await?;
            let found = topology::declare_queue(&channel, options, true).await?;
            // Only asked; how the channel ends does not matter.
            channel.close(200, "looked".into()).await.ok();
            Ok::<_, Trouble>(found)
        };
        let late = |_| Trouble::new("RabbitMQ does not answer a consumer that hears nothing from it");
        let (waiting, consumers) = timeout(ANSWER_WITHIN, asking).await.map_err(late)??;
        if waiting == 0 {
            self.suspicious = false;
            return Ok(());
        }
        if consumers == 0 || std::mem::replace(&mut self.suspicious, true) {
            return Err(Trouble::new(format!(
                "RabbitMQ holds messages in {:?} and delivers none here; it counts {consumers} consumers",
                options.queue
            )));
        }
        Ok(())
    }
}
