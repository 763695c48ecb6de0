//! Everything in one process: recogniser and gateway over one log.
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use rechka_engine::{Config, Metrics, Recogniser};
use rechka_log::Log;
use rechka_serve::{Gateway, GatewayConfig, Probe};
use tokio::net::TcpListener;

use crate::model::LoadedModel;

/// Recogniser and gateway, running.
pub struct Node {
    /// Where the gateway listens.
    pub address: SocketAddr,
    /// What the recogniser counts.
    pub metrics: Arc<Metrics>,
    gateway: Gateway,
    listener: TcpListener,
    recogniser: Arc<Mutex<Option<Recogniser>>>,
}

impl Node {
    /// Starts both. `language`: of speech that does not say its own; `None` detects it.
    pub async fn start(log: Arc<dyn Log>, model: LoadedModel, language: Option<String>, listen: &str) -> Result<Self> {
        let listener = TcpListener::bind(listen).await.with_context(|| {
            format!("listening on {listen} (is it taken? another address: --listen 127.0.0.1:9000)")
        })?;
        let address = listener.local_addr()?;
        let mut live = model.live;
        live.options.language.clone_from(&language);
        live.last_options.language = language;
        let config = Config::new(&model.name, &model.version, live);
        let gateway_config = GatewayConfig {
            model: model.name.clone(),
            partitions: config.partitions,
            ..Default::default()
        };
        let recogniser = Recogniser::spawn(log.clone(), model.transcriber, config)?;
        let metrics = recogniser.metrics();
        let recogniser = Arc::new(Mutex::new(Some(recogniser)));
        let probe = RecogniserProbe {
            metrics: metrics.clone(),
            recogniser: recogniser.clone(),
        };
        let gateway = Gateway::with_probes(log, gateway_config, vec![Arc::new(probe)])?;
        Ok(Self {
            address,
            metrics,
            gateway,
            listener,
            recogniser,
        })
    }

    /// Serves until `shutdown` is done; then everything accepted is durable.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        self.gateway.serve(self.listener, shutdown).await?;
        let recogniser = self.recogniser.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(recogniser) = recogniser {
            tokio::task::spawn_blocking(move || recogniser.stop()).await??;
        }
        Ok(())
    }
}

/// What the gateway asks of the recogniser.
struct RecogniserProbe {
    metrics: Arc<Metrics>,
    recogniser: Arc<Mutex<Option<Recogniser>>>,
}

impl Probe for RecogniserProbe {
    fn name(&self) -> &str {
        "recogniser"
    }

    fn ready(&self) -> Result<(), String> {
        if let Some(error) = self.metrics.error() {
            return Err(error);
        }
        let recogniser = self.recogniser.lock().unwrap_or_else(PoisonError::into_inner);
        match recogniser.as_ref() {
            Some(recogniser) if recogniser.is_running() => Ok(()),
            _ => Err("the recogniser has stopped".into()),
        }
    }

    fn metrics(&self, text: &mut String) {
        text.push_str(&self.metrics.prometheus());
    }
}
