use std::{any::Any, thread};

use crate::Error;

/// For a chain of operators as long as `text::tokens` allows, several times what DataFusion's planner takes without optimisation.
const STACK: usize = 64 << 20;

/// Runs `work` on a stack that is large enough to walk any expression that the parser lets through. DataFusion does so by recursion.
/// Where it panics over a strange query, as the fuzzer has seen, that is an error like any other.
///
/// # Errors
/// Those of `work`; its panic; the system has no thread to spare.
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
            Err(panic) => Err(Error::Plan(format!("this can't be planned: {}", reason(&*panic)))),
        }
    })
}

fn reason(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("the planner panicked")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        let error = on_deep_stack(|| -> Result<(), Error> { panic!("out of {}", "luck") });
        assert_eq!(error.unwrap_err().to_string(), "this can't be planned: out of luck");
    }
}
