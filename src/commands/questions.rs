//! Asking an engine: a row that a worker answers, waited for with a deadline.

use std::time::{Duration, Instant};

use crate::commands::{Commands, Error};
use crate::db::notices::Channel;
use crate::db::questions::{self, Answer};
use crate::domain::instance::Instance;
use crate::domain::question::QuestionKind;
use crate::domain::refusal::Refusal;

impl Commands {
    /// Asks the instance's serving server.
    ///
    /// # Errors
    /// [`Refusal::NoAnswer`] when the server could not be asked within [`QuestionKind::patience`]; the store's.
    pub async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        instance: &Instance,
        kind: QuestionKind,
    ) -> Result<T, Error> {
        self.ask_about(instance, kind, serde_json::Value::Null).await
    }

    /// The same, with what the question is about besides the instance.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn ask_about<T: serde::de::DeserializeOwned>(
        &self,
        instance: &Instance,
        kind: QuestionKind,
        what: serde_json::Value,
    ) -> Result<T, Error> {
        let (host, about, patience) = (instance.host.clone(), instance.id, kind.patience());
        let id =
            self.db.transact(move |conn| questions::ask(conn, &host, about, kind, &what, patience)).await?;
        let deadline = Instant::now() + patience;
        loop {
            match self.db.run(move |conn| questions::take(conn, id)).await? {
                Answer::Given(value) => {
                    return serde_json::from_value(value)
                        .map_err(|e| Error::Inconsistent(format!("answer: {e}")));
                }
                Answer::Trouble(trouble) => {
                    tracing::warn!(instance.id = %about, trouble, "an engine could not be asked");
                    return Err(Refusal::NoAnswer { what: kind.title() }.into());
                }
                Answer::Open if Instant::now() >= deadline => {
                    return Err(Refusal::NoAnswer { what: kind.title() }.into());
                }
                Answer::Open => self.notices.wait(Channel::Answers, Duration::from_millis(250)).await,
            }
        }
    }
}
