//! The networks of an app: bridges of Docker's, one for each Compose network, as Compose makes them.
//!
//! They are an instance's way to the outside. Calls between services do not use them.

use std::collections::BTreeSet;

use bollard::Docker;
use bollard::models::{EndpointSettings, NetworkConnectRequest, NetworkCreateRequest};
use bollard::query_parameters::ListNetworksOptionsBuilder;
use model::{AppName, NetworkName};
use ports::{EngineError, InstanceWish};
use tokio::sync::Mutex;

use crate::{failure, labels};

/// A network that an instance is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Network {
    /// Its name in Docker.
    pub(crate) name: String,
    /// The names that the instance's service has there, for what is not ours and asks Docker.
    pub(crate) aliases: Vec<String>,
    key: NetworkName,
    reach: Reach,
}

/// Whether a network leads to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Outside,
    Inside,
}

/// The networks of an instance. One that leads outside comes first: it is the default route.
pub(crate) fn of(wish: &InstanceWish) -> Vec<Network> {
    let network = |(key, aliases): (&NetworkName, &BTreeSet<String>)| {
        let spec = wish.app.networks.get(key).copied().unwrap_or_default();
        let own = [wish.spec.name.to_string()];
        Network {
            name: format!("{}_{key}", wish.id.app),
            aliases: own.into_iter().chain(aliases.iter().cloned()).collect(),
            key: key.clone(),
            reach: if spec.internal {
                Reach::Inside
            } else {
                Reach::Outside
            },
        }
    };
    let mut networks: Vec<_> = wish.spec.networks.iter().map(network).collect();
    networks.sort_by_key(|network| network.reach == Reach::Inside);
    networks
}

/// Makes networks, each once: Docker would make two of one name.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    known: Mutex<BTreeSet<String>>,
}

impl Networks {
    /// Makes what is missing of an instance's networks.
    pub(crate) async fn ensure(
        &self,
        docker: &Docker,
        wish: &InstanceWish,
        home: &str,
    ) -> Result<(), EngineError> {
        let mut known = self.known.lock().await;
        for network in of(wish) {
            if known.contains(&network.name) {
                continue;
            }
            let seen = docker.inspect_network(&network.name, None).await;
            match seen {
                Ok(_) => {}
                Err(error) if failure::is_absent(&error) => {
                    create(docker, &wish.id.app, &network, home).await?;
                }
                Err(error) => return Err(failed("look at", &network.name, &error)),
            }
            known.insert(network.name);
        }
        Ok(())
    }

    /// Forgets which networks there are: somebody may have removed one.
    pub(crate) async fn doubt(&self) {
        self.known.lock().await.clear();
    }

    /// Removes the networks of an app that are ours.
    pub(crate) async fn remove(
        &self,
        docker: &Docker,
        app: &AppName,
        home: &str,
    ) -> Result<(), EngineError> {
        let mut known = self.known.lock().await;
        let filter = labels::filter(&[(labels::APP, app.as_str()), (labels::HOME, home)]);
        let options = ListNetworksOptionsBuilder::new().filters(&filter).build();
        let networks = docker.list_networks(Some(options)).await;
        let networks = networks.map_err(|error| failed("list", "all", &error))?;
        for name in networks.into_iter().filter_map(|network| network.name) {
            known.remove(&name);
            match docker.remove_network(&name).await {
                Err(error) if !failure::is_absent(&error) => {
                    return Err(failed("remove", &name, &error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

async fn create(
    docker: &Docker,
    app: &AppName,
    network: &Network,
    home: &str,
) -> Result<(), EngineError> {
    let mut all = labels::of_app(home, app);
    all.insert(
        "com.docker.compose.network".to_owned(),
        network.key.to_string(),
    );
    let request = NetworkCreateRequest {
        name: network.name.clone(),
        driver: Some("bridge".to_owned()),
        internal: Some(network.reach == Reach::Inside),
        labels: Some(all),
        ..NetworkCreateRequest::default()
    };
    let created = docker.create_network(request).await;
    created
        .map(drop)
        .map_err(|error| failed("make", &network.name, &error))
}

/// Connects a container that does not run yet to its further networks.
pub(crate) async fn connect(
    docker: &Docker,
    container: &str,
    wish: &InstanceWish,
) -> Result<(), EngineError> {
    for network in of(wish).into_iter().skip(1) {
        let request = NetworkConnectRequest {
            container: container.to_owned(),
            endpoint_config: Some(EndpointSettings {
                aliases: Some(network.aliases),
                ..EndpointSettings::default()
            }),
        };
        let connected = docker.connect_network(&network.name, request).await;
        connected.map_err(|error| failed("connect a container to", &network.name, &error))?;
    }
    Ok(())
}

fn failed(what: &str, name: &str, error: &bollard::errors::Error) -> EngineError {
    failure::explain(format!("cannot {what} the network {name}"), error)
}
