//! The data plane as control sees it: the proxy for calls, the name server for names.

use std::sync::Arc;

use dns::{NameServer, Transport};
use model::{AppName, InstanceId, Publish, ServiceName};
use ports::{Attachment, Dataplane, ListenError, Listening, Pending};
use proxy::Proxy;

/// Passes sockets on to who serves them.
pub(crate) struct Wired {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) names: NameServer,
}

impl Dataplane for Wired {
    fn attach(&self, instance: InstanceId, attachment: Attachment) {
        let Attachment {
            namespace,
            tcp,
            dns,
            udp,
        } = attachment;
        let udp = udp
            .into_iter()
            .map(|(to, socket)| ((to.address, to.port), socket))
            .collect();
        self.names
            .serve(instance.clone(), Transport::Datagrams(dns));
        self.proxy.attach(
            instance,
            proxy::Attachment {
                namespace,
                tcp,
                udp,
            },
        );
    }

    fn detach(&self, instance: &InstanceId) {
        self.names.detach(instance);
        self.proxy.detach(instance);
    }

    fn listen<'a>(
        &'a self,
        app: &'a AppName,
        wishes: Vec<(ServiceName, Publish)>,
    ) -> Pending<'a, Result<Vec<Listening>, Vec<ListenError>>> {
        let outcome = self.proxy.listen(app, &wishes);
        let outcome = match outcome {
            Ok(listening) => Ok(listening.into_iter().map(listening_of).collect()),
            Err(errors) => Err(errors.into_iter().map(error_of).collect()),
        };
        Box::pin(std::future::ready(outcome))
    }
}

fn listening_of(from: proxy::Listening) -> Listening {
    Listening {
        service: from.service,
        target: from.target.number,
        address: from.address,
    }
}

fn error_of(from: proxy::ListenError) -> ListenError {
    let why = from.why.to_string();
    ListenError {
        service: from.service,
        address: from.address,
        port: from.port,
        why,
    }
}
