//! A data plane that serves nothing and remembers what it was asked to serve.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::{AppName, InstanceId, Publish, ServiceName};
use ports::{Attachment, Dataplane, ListenError, Listening, Pending};

/// Holds attachments, and says of every wished port that it listens.
#[derive(Debug, Default)]
pub struct FakeDataplane {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    attached: BTreeMap<InstanceId, Attachment>,
    wishes: BTreeMap<AppName, Vec<(ServiceName, Publish)>>,
    taken: BTreeSet<u16>,
}

impl FakeDataplane {
    /// The instances that are served.
    #[must_use]
    pub fn attached(&self) -> Vec<InstanceId> {
        self.state().attached.keys().cloned().collect()
    }

    /// What an app wished to have published last.
    #[must_use]
    pub fn wishes(&self, app: &AppName) -> Vec<(ServiceName, Publish)> {
        self.state().wishes.get(app).cloned().unwrap_or_default()
    }

    /// Lets a port be taken by somebody else: publishing it fails.
    pub fn take(&self, port: u16) {
        self.state().taken.insert(port);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dataplane for FakeDataplane {
    fn attach(&self, instance: InstanceId, attachment: Attachment) {
        self.state().attached.insert(instance, attachment);
    }

    fn detach(&self, instance: &InstanceId) {
        self.state().attached.remove(instance);
    }

    fn listen<'a>(
        &'a self,
        app: &'a AppName,
        wishes: Vec<(ServiceName, Publish)>,
    ) -> Pending<'a, Result<Vec<Listening>, Vec<ListenError>>> {
        let mut state = self.state();
        let mut listening = Vec::new();
        let mut errors = Vec::new();
        for (service, publish) in &wishes {
            let service = service.clone();
            let address = publish.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            let port = publish.published.unwrap_or(0);
            if state.taken.contains(&port) {
                errors.push(ListenError {
                    service,
                    address,
                    port,
                    why: "it is taken".to_owned(),
                });
            } else {
                listening.push(Listening {
                    service,
                    target: publish.target.number,
                    address: SocketAddr::new(address, port),
                });
            }
        }
        state.wishes.insert(app.clone(), wishes);
        let answer = if errors.is_empty() {
            Ok(listening)
        } else {
            Err(errors)
        };
        Box::pin(std::future::ready(answer))
    }
}
