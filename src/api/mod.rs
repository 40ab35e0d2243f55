//! The front door: HTTP in, JSON out; no SQL and no rules.
//!
//! A request meets, in this order: [`front`] (its id, its span, its body, the order of refusals), the table of its
//! dialect ([`routes`]), a handler (parse, one command or one query, view), and on the way out [`error`] when the
//! answer is a "no".
//!
//! To add a route: a line in its dialect's table with what [`doc`] says of it, a handler beside it, its page and its
//! samples in `api-ref/`. The
//! tests walk the tables: a route without a token is 401 and another method of its path is 405 without more to do.
//!
//! # Decision
//! The tables are matched by us and not by actix's router, since the order of refusals is promised (401 before the
//! 404 of an unknown URI, 405 with the methods that there are, 415 before the body is read as JSON) and a router
//! that answers by itself gives another order and no body. What we gave up: actix's extractors.

pub mod alibaba;
pub mod audit;
pub mod coffer;
pub mod doc;
pub mod error;
pub mod events;
pub mod front;
pub mod ha;
pub mod health;
pub mod huawei;
pub mod identity;
pub mod json_fields;
pub mod limits;
pub mod links;
pub mod maintenance;
pub mod mgmt;
pub mod openapi;
pub mod rackspace;
pub mod request;
pub mod shapes;
pub mod trove;
pub mod upgrades;
pub mod vendor_reads;
pub mod windows;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App, HttpServer};

pub use crate::api::request::Route;
use crate::auth::Authenticator;
use crate::auth::access_keys::AccessKeys;
use crate::auth::dev::DevIdentity;
use crate::commands::Commands;

/// Threads that take requests: one for two cores. They only take apart and put together; the threads that talk to the
/// store, and Postgres where it is on the same machine, need the rest, and fewer threads do more each time they wake.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

/// How long a stop waits for the requests that are under way.
const STOP_SECONDS: u64 = 5;

/// What the handlers need.
pub struct ApiState {
    /// What a caller may change; its store is also what the reads ask.
    pub commands: Commands,
    /// Who asks.
    pub auth: Arc<dyn Authenticator>,
    /// Who signs, for the dialects whose clients sign.
    pub keys: AccessKeys,
    /// The built-in identity, served below `/identity`; `coffer dev` only.
    pub identity: Option<Arc<DevIdentity>>,
    /// How much may be asked for.
    pub limits: limits::Limits,
    /// Whether the service is in maintenance.
    pub maintenance: maintenance::Watch,
    /// The zone of the host names that the upgrade action's answer holds, `db.coffer.internal` for example.
    pub zone: String,
    /// What its metrics show besides its own.
    pub watched: health::Watched,
    /// The streams of events that are open.
    pub streams: Arc<events::Streams>,
    /// Who asked to change something.
    pub audit: audit::Audit,
}

impl ApiState {
    /// As `coffer dev` has it: the built-in identity, no limits, the zone `db.coffer.internal`.
    pub fn for_dev(commands: Commands, identity: Arc<DevIdentity>) -> Self {
        Self {
            keys: AccessKeys::new(commands.db.clone(), commands.sealer.clone()),
            commands,
            auth: Arc::clone(&identity) as Arc<dyn Authenticator>,
            identity: Some(identity),
            limits: limits::Limits::default(),
            maintenance: maintenance::Watch::default(),
            zone: "db.coffer.internal".to_owned(),
            watched: health::Watched::default(),
            streams: Arc::default(),
            audit: audit::Audit::default(),
        }
    }

    /// The same under the limits of `profile`.
    #[must_use]
    pub fn limited_by(mut self, profile: limits::Profile) -> Self {
        self.limits = limits::Limits::new(profile);
        self.commands.quota = profile.quota();
        self
    }
}

/// Every route of every dialect, in the order in which they are looked at.
pub fn routes() -> impl Iterator<Item = &'static Route> {
    let dialects = trove::ROUTES
        .iter()
        .chain(trove::configurations::ROUTES)
        .chain(trove::tls::ROUTES)
        .chain(trove::logs::ROUTES)
        .chain(trove::missing::ROUTES)
        .chain(rackspace::ROUTES);
    dialects
        .chain(ha::ROUTES)
        .chain(upgrades::ROUTES)
        .chain(windows::ROUTES)
        .chain(coffer::ROUTES)
        .chain(events::ROUTES)
        .chain(mgmt::ROUTES)
        .chain(identity::ROUTES)
        .chain(health::ROUTES)
}

/// Puts the front door into an actix application: everything that comes is ours.
pub fn app_config(config: &mut ServiceConfig, state: Data<ApiState>) {
    config.app_data(state).default_service(web::to(front::front));
}

/// Serves on `listener` until `shutdown` resolves; requests under way get 5 s to end.
///
/// # Errors
/// The listener's.
pub async fn serve(
    state: ApiState,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let state = Data::new(state);
    let streams = Arc::clone(&state.streams);
    let (ending, ended) = tokio::sync::oneshot::channel::<()>();
    let writing = {
        let state = state.clone();
        tokio::spawn(async move {
            let db = state.commands.db.clone();
            let end = async {
                let _gone = ended.await;
            };
            state.audit.write(db, end).await;
        })
    };
    let server = HttpServer::new(move || {
        let state = state.clone();
        App::new().configure(move |config| app_config(config, state))
    })
    .workers(workers())
    .client_request_timeout(Duration::from_secs(10))
    // Longer than a client polls: one that sends just as we close its idle connection sees a broken request.
    .keep_alive(Duration::from_secs(75))
    // A body that nobody reads ends its connection at once: what may be read of it is our matter.
    .client_disconnect_timeout(Duration::ZERO)
    .shutdown_timeout(STOP_SECONDS)
    .disable_signals()
    .listen(listener)?
    .run();
    let handle = server.handle();
    let stop = async move {
        shutdown.await;
        // They would last as long as what they tell of.
        streams.close();
        handle.stop(true).await;
        // The server's own end is the answer.
        std::future::pending::<()>().await;
    };
    let served = tokio::select! {
        ended = server => ended,
        () = stop => Ok(()),
    };
    drop(ending);
    // It has a deadline of its own.
    let _written = writing.await;
    served
}

#[cfg(test)]
mod tests;
