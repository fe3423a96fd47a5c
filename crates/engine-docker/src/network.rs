//! The networks of an app: bridges of Docker's, one for each Compose network, as Compose makes them.
//!
//! They are an instance's way to the outside. Calls between services do not use them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::Docker;
use bollard::models::{EndpointSettings, NetworkConnectRequest, NetworkCreateRequest};
use bollard::query_parameters::ListNetworksOptionsBuilder;
use model::{AppName, NetworkName};
use ports::{EngineError, InstanceWish};
use tokio::sync::Mutex;

use crate::{failure, labels};

/// A network that an instance is on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Network {
    /// Its name in Docker.
    name: String,
    /// The names that the instance's service has there, for what is not ours and asks Docker.
    aliases: Vec<String>,
    key: NetworkName,
    reach: Reach,
}

/// A network that is there, for an instance to be on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joined {
    /// Docker's id of it: it lets several have one name.
    pub(crate) network: String,
    /// The names that the instance's service has there, for what is not ours and asks Docker.
    pub(crate) aliases: Vec<String>,
}

/// Whether a network leads to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Outside,
    Inside,
}

/// The networks of an instance. One that leads outside comes first: it is the default route.
fn of(wish: &InstanceWish) -> Vec<Network> {
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

/// Makes networks, each once, and knows their ids: Docker would make two of one name.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    known: Mutex<BTreeMap<String, String>>,
}

impl Networks {
    /// The networks of an instance; what is missing is made.
    pub(crate) async fn ensure(
        &self,
        docker: &Docker,
        wish: &InstanceWish,
        home: &str,
    ) -> Result<Vec<Joined>, EngineError> {
        let mut known = self.known.lock().await;
        let mut joined = Vec::new();
        for wished in of(wish) {
            let id = match known.get(&wished.name) {
                Some(id) => id.clone(),
                None => match find(docker, &wished.name, home).await? {
                    Some(id) => id,
                    None => create(docker, &wish.id.app, &wished, home).await?,
                },
            };
            known.insert(wished.name, id.clone());
            joined.push(Joined {
                network: id,
                aliases: wished.aliases,
            });
        }
        Ok(joined)
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
        for network in networks {
            let (Some(name), Some(id)) = (network.name, network.id) else {
                continue;
            };
            known.remove(&name);
            match docker.remove_network(&id).await {
                Err(error) if !failure::is_absent(&error) => {
                    return Err(failed("remove", &name, &error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

/// The network of a name: ours, else anybody's.
async fn find(docker: &Docker, name: &str, home: &str) -> Result<Option<String>, EngineError> {
    let filter = HashMap::from([("name", vec![name])]);
    let options = ListNetworksOptionsBuilder::new().filters(&filter);
    let listed = docker.list_networks(Some(options.build())).await;
    let mut listed = listed.map_err(|error| failed("look for", name, &error))?;
    // Docker looks for the name as a part of names.
    listed.retain(|network| network.name.as_deref() == Some(name));
    let is_ours = |network: &bollard::models::Network| {
        let labels = network.labels.as_ref();
        labels
            .and_then(|labels| labels.get(labels::HOME))
            .map(String::as_str)
            == Some(home)
    };
    let ours = listed.iter().position(is_ours).unwrap_or_default();
    Ok(listed.into_iter().nth(ours).and_then(|network| network.id))
}

async fn create(
    docker: &Docker,
    app: &AppName,
    network: &Network,
    home: &str,
) -> Result<String, EngineError> {
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
    let created = created.map_err(|error| failed("make", &network.name, &error))?;
    Ok(created.id)
}

/// Connects a container that does not run yet to its further networks.
pub(crate) async fn connect(
    docker: &Docker,
    container: &str,
    further: &[Joined],
) -> Result<(), EngineError> {
    for Joined { network, aliases } in further {
        let request = NetworkConnectRequest {
            container: container.to_owned(),
            endpoint_config: Some(EndpointSettings {
                aliases: Some(aliases.clone()),
                ..EndpointSettings::default()
            }),
        };
        let connected = docker.connect_network(network, request).await;
        connected.map_err(|error| failed("connect a container to", network, &error))?;
    }
    Ok(())
}

fn failed(what: &str, name: &str, error: &bollard::errors::Error) -> EngineError {
    failure::explain(format!("cannot {what} the network {name}"), error)
}
