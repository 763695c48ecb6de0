//! Why a model can't be had, and what to do.
use std::path::{Path, PathBuf};

use super::Hub;

/// Why a model could not be found or downloaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// Neither a folder nor a possible name.
    #[error(
        "there is no folder {name:?}, and no model can have that name; known are {named}folders, and models of the hub \
             such as openai/whisper-base"
    )]
    NotFound {
        /// What was asked for.
        name: String,
        /// The caller's named folders.
        named: String,
    },
    /// A folder lacks a file of a checkpoint.
    #[error("{} is no complete checkpoint: it lacks {file}", folder.display())]
    Incomplete {
        /// The folder.
        folder: PathBuf,
        /// What it lacks.
        file: String,
    },
    /// The hub does not know the model or revision.
    #[error(
        "{endpoint} knows no model {id:?} with revision {revision:?}; check the spelling, and if it is private set HF_TOKEN"
    )]
    Unknown {
        /// The hub's address.
        endpoint: String,
        /// The model.
        id: String,
        /// The revision.
        revision: String,
    },
    /// The model is gated or private.
    #[error("{endpoint} refuses model {id:?}: it is gated or private, {advice}")]
    Refused {
        /// The hub's address.
        endpoint: String,
        /// The model.
        id: String,
        /// What to do.
        advice: String,
    },
    /// The repository has no safetensors weights.
    #[error(
        "model {id:?} has no {} in safetensors format; convert it, or choose a revision that has it",
        super::WEIGHTS
    )]
    NoWeights {
        /// The model.
        id: String,
    },
    /// The network, or the hub, does not answer.
    #[error(
        "model {id:?} is not in {}, and {endpoint} can't be reached: {reason}. Download it on another machine with `hf download \
         {id} --local-dir FOLDER`, copy the folder here and give its path as the model; or use the bundled model `digits`, \
         which needs no network. What was downloaded before is kept, a new attempt continues",
        cache.display()
    )]
    Unreachable {
        /// The model.
        id: String,
        /// The hub's address.
        endpoint: String,
        /// The local cache.
        cache: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// The hub said something that it must not say.
    #[error("{endpoint} gave a wrong answer for {file:?} of model {id:?}: {reason}; try again, or another HF_ENDPOINT")]
    Answer {
        /// The hub's address.
        endpoint: String,
        /// The model.
        id: String,
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The local cache can't be written or read.
    #[error("cannot write {}: {cause}; set HF_HOME to a folder with room", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        cause: std::io::Error,
    },
}

impl HubError {
    pub(super) fn unreachable(hub: &Hub, id: &str, reason: impl ToString) -> Self {
        HubError::Unreachable {
            id: id.to_owned(),
            endpoint: hub.endpoint.clone(),
            cache: hub.cache.clone(),
            reason: reason.to_string(),
        }
    }

    pub(super) fn cache(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        |cause| HubError::Cache {
            path: path.to_owned(),
            cause,
        }
    }
}
