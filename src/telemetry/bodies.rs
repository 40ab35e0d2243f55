//! Bodies that nobody has read, or not to their end, when the answer is there.
//!
//! The server would read on, to come to the next request of the connection, for as long as the client sends. So what is
//! here already is read, a little, and the connection goes on; else it is closed after the answer. Closed with unread
//! bytes, a connection is reset, and the client may lose the answer: therefore a little more is read behind it, and no
//! longer than a moment.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::ConnectionType;
use actix_web::web::{Bytes, Payload};
use futures::{Stream as _, StreamExt as _};
use tokio::time::Sleep;

/// How long the answer may wait for the rest of a body that is on its way.
const REST_WITHIN: Duration = Duration::from_millis(50);

/// How much is read behind the answer, in bytes: a client whose body is several times too large still hears why.
const BEHIND: usize = 4 * 1024 * 1024;

/// How long.
const BEHIND_WITHIN: Duration = Duration::from_secs(1);

/// The answer, as it is to be sent: its connection ends with it unless the rest of the body is here, and is at most
/// `small` bytes.
pub async fn finish(answer: HttpResponse, mut payload: Payload, small: usize) -> HttpResponse {
    let rest = async {
        let mut left = small;
        while let Some(Ok(chunk)) = payload.next().await {
            let Some(less) = left.checked_sub(chunk.len()) else { return false };
            left = less;
        }
        true
    };
    if tokio::time::timeout(REST_WITHIN, rest).await == Ok(true) {
        return answer;
    }
    let mut answer = answer
        .map_body(|_, body| BoxBody::new(Last { body: Some(body), payload, left: BEHIND, until: None }));
    answer.head_mut().set_connection_type(ConnectionType::Close);
    answer
}

/// The last answer of a connection, and what is read behind it. While it has the payload, the server reads none itself.
struct Last {
    body: Option<BoxBody>,
    payload: Payload,
    left: usize,
    until: Option<Pin<Box<Sleep>>>,
}

impl MessageBody for Last {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.as_ref().map_or(BodySize::None, MessageBody::size)
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        if let Some(body) = &mut this.body {
            match Pin::new(body).poll_next(cx) {
                Poll::Ready(None) => this.body = None,
                other => return other,
            }
        }
        let until = this.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(BEHIND_WITHIN)));
        loop {
            if until.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            match Pin::new(&mut this.payload).poll_next(cx) {
                Poll::Ready(Some(Ok(chunk))) => match this.left.checked_sub(chunk.len()) {
                    Some(left) => this.left = left,
                    None => return Poll::Ready(None),
                },
                Poll::Ready(None | Some(Err(_))) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
