//! The gateway as a whole.
use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rechka_log::Log;
use rechka_store::Views;
use tokio::net::TcpListener;

use crate::{
    GatewayConfig, Probe, ServeError,
    config::Probes,
    http,
    metrics::Metrics,
    reading::Library,
    server,
    session::{Ingest, Job, Sequencer, recover},
    stopping::{self, Stop, Stopping},
    topics,
    transcripts::{Catalog, Follower, Subscription},
};

/// How often sessions without client are looked at.
const TICK: Duration = Duration::from_secs(1);

/// The gateway over one log.
///
/// [`Gateway::new`] reads what is going on from the log and starts its threads; [`Gateway::serve`] serves until it is told to stop.
/// Several may serve the same log. A session belongs to the one that its client came to last.
pub struct Gateway {
    shared: Arc<Shared>,
    threads: [JoinHandle<()>; 2],
}

/// What every handler needs.
pub(crate) struct Shared {
    pub config: GatewayConfig,
    pub probes: Probes,
    pub metrics: Arc<Metrics>,
    pub catalog: Arc<Catalog>,
    pub library: Library,
    pub views: Arc<Views>,
    pub follower: Follower,
    /// Whether the gateway stops.
    pub stopping: Stopping,
    stop: Stop,
    ingest: Mutex<Option<Arc<Ingest>>>,
}

impl Gateway {
    /// A gateway over `log`. Creates the topics that are missing, and takes up the sessions that were open.
    pub fn new(log: Arc<dyn Log>, config: GatewayConfig) -> Result<Self, ServeError> {
        Self::with_probes(log, config, Vec::new())
    }

    /// The same, which asks `probes` whether they are ready and what they count.
    pub fn with_probes(
        log: Arc<dyn Log>,
        config: GatewayConfig,
        probes: Vec<Arc<dyn Probe>>,
    ) -> Result<Self, ServeError> {
        let views = Arc::new(Views::new(log.clone(), rechka_store::Limits::default()));
        Self::with_views(log, config, probes, views)
    }

    /// The same, which serves `views`; whoever shares them says which there are.
    pub fn with_views(
        log: Arc<dyn Log>,
        config: GatewayConfig,
        probes: Vec<Arc<dyn Probe>>,
        views: Arc<Views>,
    ) -> Result<Self, ServeError> {
        let partitions = topics::ensure(&*log, config.partitions)?;
        let limits = &config.limits;
        let catalog = Arc::new(Catalog::new(partitions, limits.listed_sessions));
        let recovered = recover(&*log, partitions)?;
        for record in recovered.ended.iter().chain(recovered.open.values()) {
            catalog.session_stored(record, true);
        }
        let metrics = Arc::new(Metrics::default());
        let sessions_from = recovered.sessions_from;
        let sequencer = Sequencer::new(
            &uuid::Uuid::new_v4().to_string(),
            recovered,
            limits.sessions,
            limits.resume,
            catalog.clone(),
            Instant::now(),
        );
        let (ingest, storing) = Ingest::start(log.clone(), sequencer, metrics.clone())?;
        let (follower, following) =
            Follower::start(log.clone(), catalog.clone(), partitions, sessions_from, ingest.jobs())?;
        let (stop, stopping) = stopping::signal();
        let shared = Shared {
            library: Library::new(log, limits.readers),
            views,
            config,
            probes: probes.into(),
            metrics,
            catalog,
            follower,
            stopping,
            stop,
            ingest: Mutex::new(Some(Arc::new(ingest))),
        };
        Ok(Self {
            shared: Arc::new(shared),
            threads: [storing, following],
        })
    }

    /// Serves until `shutdown` is done; then tells all clients to come back later, and returns when what they sent is durable.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError> {
        let shared = self.shared;
        let ticking = tokio::spawn(tick(shared.clone()));
        let routes = http::routes(shared.clone());
        let serving = server::serve(listener, routes, &shared.config.limits, shared.stopping.clone());
        let stop = async {
            shutdown.await;
            // Clients that leave because of this stop are no reason to end their sessions.
            ticking.abort();
            shared.stop.now();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = serving => {}
            () = stop => {}
        }
        shared.follower.stop();
        // The storing thread ends when the last connection has let go of it.
        drop(shared.ingest.lock().unwrap_or_else(PoisonError::into_inner).take());
        let threads = self.threads;
        let ended = tokio::task::spawn_blocking(move || threads.map(JoinHandle::join)).await;
        if !matches!(ended, Ok([Ok(()), Ok(())])) {
            tracing::error!("a thread of the gateway has failed");
        }
        Ok(())
    }
}

impl Shared {
    /// The way to the thread that stores audio; `None`: the gateway stops.
    pub fn ingest(&self) -> Option<Arc<Ingest>> {
        let ingest = self.ingest.lock().unwrap_or_else(PoisonError::into_inner);
        ingest.clone()
    }

    /// Listens to a session.
    pub fn subscribe(&self, session: &str, after_segment: Option<u64>) -> Subscription {
        let room = self.config.limits.pending_finals;
        Subscription::new(session, after_segment, room, self.catalog.clone(), self.library.clone())
    }
}

async fn tick(shared: Arc<Shared>) {
    let mut interval = tokio::time::interval(TICK);
    loop {
        interval.tick().await;
        let Some(ingest) = shared.ingest() else { return };
        if ingest.send(Job::Tick).await.is_err() {
            return;
        }
    }
}
