//! The SDK's runtime without its jitter, which no seed reaches: its pauses are rounded down to steps of 300 ms.

use azure_core::async_runtime::{AbortableTask, AsyncRuntime, SpawnedTask, TaskFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

struct Steady;

struct Task(tokio::task::JoinHandle<()>);

impl Future for Task {
    type Output = Result<(), Box<dyn std::error::Error + Send>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map_err(|error| Box::new(error) as Box<dyn std::error::Error + Send>)
    }
}

impl AbortableTask for Task {
    fn abort(&self) {
        self.0.abort();
    }
}

impl AsyncRuntime for Steady {
    fn spawn(&self, future: TaskFuture) -> SpawnedTask {
        Box::pin(Task(tokio::spawn(future)))
    }

    fn sleep(&self, duration: azure_core::time::Duration) -> TaskFuture {
        let ms = u64::try_from(duration.whole_milliseconds()).unwrap_or(0);
        Box::pin(tokio::time::sleep(std::time::Duration::from_millis(
            ms / 300 * 300,
        )))
    }

    fn yield_now(&self) -> TaskFuture {
        Box::pin(tokio::task::yield_now())
    }
}

/// For the whole process; once.
pub(crate) fn install() {
    azure_core::async_runtime::set_async_runtime(Arc::new(Steady)).expect("set once");
}
