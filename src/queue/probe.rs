//! Looks at the broker without changing anything, for `teamlink check`.

use lapin::Connection;

use super::{
    Options,
    connect::{NOT_FOUND, Trouble, answer, connect, open_channel},
    topology,
};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Works, but somebody should know.
    Notice,
    /// Deliveries cannot pass.
    Bad,
}

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub verdict: Verdict,
    /// What was found.
    pub what: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Finding {
    fn good(what: impl Into<String>) -> Self {
        Self { verdict: Verdict::Good, what: what.into(), remedy: None }
    }

    fn notice(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Notice, what: what.into(), remedy: Some(remedy.into()) }
    }
}

impl From<Trouble> for Finding {
    fn from(trouble: Trouble) -> Self {
        Self { verdict: Verdict::Bad, what: trouble.what, remedy: trouble.remedy }
    }
}

/// Connects, and looks at the exchange and both queues: whether they exist, whether their arguments are ours,
/// and how much waits in them. Bindings cannot be asked for over AMQP.
pub async fn probe(options: &Options) -> Vec<Finding> {
    let connection = match connect(options, "check").await {
        Ok(connection) => connection,
        Err(trouble) => return vec![trouble.into()],
    };
    let mut findings = vec![Finding::good("connected to RabbitMQ")];
    for part in [Part::Exchange, Part::Queue, Part::DeadQueue] {
        findings.push(part.look(&connection, options).await.unwrap_or_else(Finding::from));
    }
    // It was only looked at; how the connection ends does not matter.
    answer("failed to leave", connection.close(200, "checked".into())).await.ok();
    findings
}

#[derive(Clone, Copy)]
enum Part {
    Exchange,
    Queue,
    DeadQueue,
}

impl Part {
    async fn look(self, connection: &Connection, options: &Options) -> Result<Finding, Trouble> {
        let (what, waiting, consumers) = match self.declare(connection, options, true).await {
            Ok((waiting, consumers)) => (self.called(options), waiting, consumers),
            Err(trouble) if trouble.code == Some(NOT_FOUND) && options.declare => {
                let what = format!("{} does not exist yet", self.called(options));
                return Ok(Finding::notice(what, "`teamlink run` creates it"));
            }
            Err(trouble) => return Err(trouble),
        };
        // It exists, so this changes nothing; but the broker compares the arguments.
        if options.declare {
            self.declare(connection, options, false).await?;
        }
        Ok(match self {
            Self::Exchange => Finding::good(format!("{what} exists")),
            Self::Queue => Finding::good(format!("{what}: {waiting} messages wait, {consumers} consumers")),
            Self::DeadQueue if waiting > 0 => Finding::notice(
                format!("{what}: {waiting} messages that the broker gave up delivering"),
                "a running worker parks each and tries it once more: `teamlink parked list --place dead_queue`",
            ),
            Self::DeadQueue => Finding::good(format!("{what} is empty")),
        })
    }

    /// On a channel of its own, since the broker closes the channel of a declaration that fails.
    async fn declare(
        self,
        connection: &Connection,
        options: &Options,
        passive: bool,
    ) -> Result<(u32, u32), Trouble> {
        let channel = open_channel(connection).await?;
        match self {
            Self::Exchange => topology::declare_exchange(&channel, options, passive).await.map(|()| (0, 0)),
            Self::Queue => topology::declare_queue(&channel, options, passive).await,
            Self::DeadQueue => topology::declare_dead_queue(&channel, options, passive).await,
        }
    }

    fn called(self, options: &Options) -> String {
        match self {
            Self::Exchange => format!("exchange {:?}", options.exchange),
            Self::Queue => format!("queue {:?}", options.queue),
            Self::DeadQueue => format!("dead queue {:?}", options.dead_queue),
        }
    }
}
