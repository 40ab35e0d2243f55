//! Waking: who waits for a row LISTENs and looks again when it is told to. Notices can be missed (Postgres away), so
//! every waiter polls too.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, NoTls};

/// A channel of the migrations' triggers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// A task was inserted or moved.
    Tasks,
    /// The endpoint role has applied something.
    Applied,
    /// A question was asked.
    Questions,
    /// A question was answered, or an operation is over.
    Answers,
    /// An operation was accepted.
    Operations,
    /// Somebody asks what parameters a version has.
    Parameters,
}

impl Channel {
    const ALL: [Self; 6] =
        [Self::Tasks, Self::Applied, Self::Questions, Self::Answers, Self::Operations, Self::Parameters];

    const fn name(self) -> &'static str {
        match self {
            Self::Tasks => "coffer_tasks",
            Self::Applied => "coffer_applied",
            Self::Questions => "coffer_questions",
            Self::Answers => "coffer_answers",
            Self::Operations => "coffer_operations",
            Self::Parameters => "coffer_parameters",
        }
    }
}

/// One connection that listens for everybody in this process.
#[derive(Clone, Default)]
pub struct Notices {
    wakes: Arc<[Notify; 6]>,
}

impl Notices {
    /// Waits until something was heard on `channel`, or `at_most` has passed. A notice that came since the last wait
    /// of a single waiter is not lost; several waiters of one channel are all woken.
    pub async fn wait(&self, channel: Channel, at_most: Duration) {
        let heard = self.wakes[channel as usize].notified();
        // The time-out is the polling fallback: no outcome to tell apart.
        let _ = tokio::time::timeout(at_most, heard).await;
    }

    /// Listens, connecting again whenever the connection ends. Never returns.
    pub async fn listen(self, url: String) {
        loop {
            if let Err(error) = self.listen_once(&url).await {
                tracing::debug!(error = %error, "listening ended, will connect again");
            }
            // What was missed meanwhile is found by looking.
            self.wake_all();
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn listen_once(&self, url: &str) -> Result<(), tokio_postgres::Error> {
        let (client, mut connection) = tokio_postgres::connect(url, NoTls).await?;
        let mut messages = futures::stream::poll_fn(move |cx| connection.poll_message(cx));
        let names: Vec<String> = Channel::ALL.iter().map(|c| format!("listen {}", c.name())).collect();
        let statement = names.join("; ");
        let listening = client.batch_execute(&statement);
        futures::pin_mut!(listening);
        let mut subscribed = false;
        loop {
            tokio::select! {
                done = &mut listening, if !subscribed => {
                    done?;
                    subscribed = true;
                    self.wake_all();
                }
                message = messages.next() => match message {
                    Some(Ok(AsyncMessage::Notification(notice))) => {
                        for channel in Channel::ALL {
                            if channel.name() == notice.channel() {
                                self.wake(channel);
                            }
                        }
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error),
                    None => return Ok(()),
                },
            }
        }
    }

    fn wake(&self, channel: Channel) {
        let notify = &self.wakes[channel as usize];
        notify.notify_waiters();
        notify.notify_one();
    }

    fn wake_all(&self) {
        for channel in Channel::ALL {
            self.wake(channel);
        }
    }
}
