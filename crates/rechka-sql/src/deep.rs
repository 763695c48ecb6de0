use std::{panic::resume_unwind, thread};

use crate::Error;

/// For a chain of operators as long as `text::tokens` allows, several times what DataFusion's planner takes without optimisation.
const STACK: usize = 64 << 20;

/// Runs `work` on a stack that is large enough to walk any expression that the parser lets through. DataFusion does so by recursion.
///
/// # Errors
/// The system has no thread to spare.
pub(crate) fn on_deep_stack<T: Send>(work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("rechka-plan".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, work);
        match thread
            .map_err(|error| Error::Plan(format!("no thread to plan with: {error}")))?
            .join()
        {
            Ok(result) => result,
            Err(panic) => resume_unwind(panic),
        }
    })
}
