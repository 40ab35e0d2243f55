//! The routing table: what listens now, made equal to the routes that the rows want.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::forward::{Leads, Presents};
use super::listening::{Limits, Listening};
use super::{Config, SocketPath, blocked};
use crate::db::routes::Routes;
use crate::domain::datastore::Protocol;
use crate::domain::ids::{InstanceId, TaskId};
use crate::telemetry::metrics;

/// A relay has one candidate, which reconnects now and then; nobody else may fill the source through it.
const RELAY_CONNECTIONS: usize = 4;

/// Whose listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Instance(InstanceId),
    Relay(TaskId),
}

/// For whom what is wanted is so.
pub(super) struct InForce {
    pub(super) instances: HashSet<InstanceId>,
    pub(super) relays: HashSet<TaskId>,
}

pub(super) struct RoutingTable {
    socket_path: SocketPath,
    limits: Limits,
    listening: HashMap<Key, Listening>,
    /// Addresses that could not be bound, told once.
    told: HashSet<SocketAddr>,
}

impl RoutingTable {
    pub(super) fn new(config: &Config, socket_path: SocketPath) -> Self {
        Self {
            socket_path,
            limits: Limits {
                connections: config.connections_per_instance,
                wait_for_server: config.wait_for_server,
                wait_for_client: config.wait_for_client,
            },
            listening: HashMap::new(),
            told: HashSet::new(),
        }
    }

    /// Puts `wanted` in force as far as it can be: gives those for which it is.
    pub(super) async fn apply(&mut self, wanted: &Routes) -> InForce {
        let most = self.limits.connections;
        let mut ways: HashMap<Key, (SocketAddr, Leads, usize, Protocol)> = HashMap::new();
        for route in &wanted.routes {
            if let Some(to) = route.generation {
                let connections = usize::try_from(route.connections).unwrap_or(most).min(most);
                let leads = Leads {
                    to,
                    hold: route.hold,
                    allowed: route.allowed.as_slice().into(),
                    tls_only: route.tls_only,
                    full_volume: route.full_volume,
                };
                ways.insert(
                    Key::Instance(route.instance),
                    (route.address, leads, connections, route.protocol),
                );
            }
        }
        for relay in &wanted.relays {
            let leads = Leads {
                to: relay.generation,
                hold: None,
                allowed: Arc::default(),
                tls_only: false,
                full_volume: false,
            };
            ways.insert(
                Key::Relay(relay.task),
                (relay.address, leads, RELAY_CONNECTIONS.min(most), relay.protocol),
            );
        }

        // First what ends, so that an address which moved is free.
        let ended: Vec<Key> = self
            .listening
            .iter()
            .filter(|(key, now)| match ways.get(key) {
                Some((address, ..)) => *address != now.address(),
                None => true,
            })
            .map(|(key, _)| *key)
            .collect();
        for key in ended {
            if let Some(listening) = self.listening.remove(&key) {
                tracing::info!(address = %listening.address(), "stopped listening");
                listening.close().await;
            }
        }

        self.told.retain(|address| ways.values().any(|(wanted, ..)| *wanted == *address));
        let mut unfinished = HashSet::new();
        for (key, (address, leads, connections, protocol)) in ways {
            match self.listening.get(&key) {
                Some(now) => {
                    now.resize(connections);
                    if !now.lead(leads).await {
                        tracing::warn!(address = %address, "connections that are cut have not all ended");
                        unfinished.insert(key);
                    }
                }
                None => self.open(key, address, leads, (connections, protocol)),
            }
        }

        metrics::endpoint_addresses(self.listening.len());
        let listens = |key: Key| self.listening.contains_key(&key) && !unfinished.contains(&key);
        InForce {
            instances: wanted
                .routes
                .iter()
                .filter(|route| route.generation.is_none() || listens(Key::Instance(route.instance)))
                .map(|route| route.instance)
                .collect(),
            relays: wanted
                .relays
                .iter()
                .map(|relay| relay.task)
                .filter(|task| listens(Key::Relay(*task)))
                .collect(),
        }
    }

    fn open(
        &mut self,
        key: Key,
        address: SocketAddr,
        leads: Leads,
        (connections, protocol): (usize, Protocol),
    ) {
        let limits = Limits { connections, ..self.limits };
        let presents = match key {
            Key::Instance(_) => Presents::Client,
            Key::Relay(_) => Presents::Itself,
        };
        match Listening::open(address, leads, (presents, protocol), limits, self.socket_path.clone()) {
            Ok(listening) => {
                tracing::info!(address = %listening.address(), "listening");
                self.told.remove(&address);
                self.listening.insert(key, listening);
            }
            Err(error) if self.told.contains(&address) => {
                tracing::debug!(address = %address, error = %error, "cannot listen still");
            }
            Err(error) => {
                let blocked_by = blocked::who_listens(address.port()).unwrap_or_else(|| "unknown".to_owned());
                tracing::error!(address = %address, error = %error, blocked_by, "cannot listen, will try again");
                self.told.insert(address);
            }
        }
    }

    /// Stops listening and closes every connection.
    pub(super) async fn close(self) {
        for (_, listening) in self.listening {
            listening.close().await;
        }
    }
}
