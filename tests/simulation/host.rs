//! The Functions host and its workers.

use crate::port::{self, Port};
use crate::queue::{Message, WORK};
use crate::world::{Shared, lock};
use axum::Router;
use axum::body::Body;
use azure_core::base64;
use lastfm_archive::archive::Access;
use lastfm_archive::clock::Clock;
use lastfm_archive::environment::{Environment, Stop};
use lastfm_archive::settings::{Needs, Settings};
use lastfm_archive::triggers::{App, router};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::SetOnce;
use tower::ServiceExt;

/// One process, from its start to its death.
#[derive(Clone)]
pub(crate) struct Worker {
    pub(crate) name: String,
    pub(crate) dead: Arc<SetOnce<()>>,
    pub(crate) stop: Stop,
    pub(crate) busy: Arc<AtomicUsize>,
    /// How large its blocks become.
    block_bytes: usize,
    router: Router,
}

/// How a process is set up.
pub(crate) struct Process<'a> {
    pub(crate) page_size: u32,
    pub(crate) pages: u32,
    /// How far its clock is off.
    pub(crate) skew_ms: i64,
    /// How large its blocks become.
    pub(crate) block_bytes: usize,
    pub(crate) rate: &'a str,
}

impl Worker {
    /// A new process with settings and a clock of its own.
    pub(crate) fn start(shared: &Shared, name: String, rate: &str) -> Self {
        let mut world = lock(shared);
        let page_size = *world
            .random
            .choice(&[1, 2, 3, 5, 10, 50, 200, 1_000])
            .expect("some");
        let pages = *world.random.choice(&[1, 2, 3, 10, 40]).expect("some");
        let skew_ms = match world.random.u32(0..3) {
            _ if world.clocks_off_ms == 0 => 0,
            0 => 0,
            1 => world.random.i64(-2_000..2_000),
            _ => world.random.i64(-30_000..30_000),
        };
        let sizes: &[usize] = if world.small_blocks {
            &[400, 1_000, 3_000, 4 << 20]
        } else {
            &[20_000, 4 << 20]
        };
        let block_bytes = *world.random.choice(sizes).expect("some");
        drop(world);
        let process = Process {
            page_size,
            pages,
            skew_ms,
            block_bytes,
            rate,
        };
        Self::with(shared, name, &process)
    }

    /// A new process that is set up like this.
    pub(crate) fn with(shared: &Shared, name: String, process: &Process<'_>) -> Self {
        let Process {
            page_size,
            pages,
            skew_ms,
            block_bytes,
            rate,
        } = *process;
        let dead = Arc::new(SetOnce::new());
        let stop = Stop::default();
        let mut world = lock(shared);
        let clock = Clock::following_tokio(world.now_ms() + skew_ms);
        world.say(
            &name,
            format!("starts: page size {page_size}, {pages} pages, clock {skew_ms} ms off, blocks of {block_bytes}"),
        );
        let users = world.truths.iter().map(|truth| truth.user);
        let users: Vec<String> = users
            .zip(["", "=Europe/Berlin", "=America/St_Johns"])
            .map(|(user, zone)| format!("{user}{zone}"))
            .collect();
        drop(world);
        let lookup = |setting: &str| {
            let value = match setting {
                "AzureWebJobsStorage" => "UseDevelopmentStorage=true".to_owned(),
                "LASTFM_API_URL" => "http://127.0.0.1:8090/2.0/".to_owned(),
                "LASTFM_API_KEY" => "key".to_owned(),
                "LASTFM_USERS" => users.join(","),
                "LASTFM_PAGE_SIZE" => page_size.to_string(),
                "PAGES_PER_ITEM" => pages.to_string(),
                "LASTFM_REQUESTS_PER_SECOND" => rate.to_owned(),
                _ => return None,
            };
            Some(value)
        };
        let needs = Needs {
            key: true,
            users: true,
            host_storage: true,
            archive: true,
        };
        let settings = Settings::read(needs, None, &lookup).expect("good settings");
        let storage = settings.host_storage.clone().expect("given");
        let http = port::client(Port {
            world: shared.clone(),
            name: name.clone(),
            dead: dead.clone(),
        });
        let mut environment =
            Environment::new(settings, Access::Write, http, clock, stop.clone()).expect("clients");
        environment.block_bytes_max = block_bytes;
        let queue = environment.work_queue(&storage).expect("a client");
        let reconciles = environment.reconcile_queue(&storage).expect("a client");
        let app = Arc::new(SetOnce::new_with(Some(App {
            environment,
            queue,
            reconciles,
        })));
        Self {
            name,
            dead,
            stop,
            busy: Arc::default(),
            block_bytes,
            router: router(app),
        }
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.initialized()
    }

    /// Invokes a function; false when it failed or the process died.
    async fn invoke(&self, function: &str, body: String) -> bool {
        let request = axum::http::Request::post(format!("/{function}"));
        let request = request.body(Body::from(body)).expect("a request");
        self.busy.fetch_add(1, Ordering::Relaxed);
        let success = tokio::select! {
            biased;
            () = async { *self.dead.wait().await } => false,
            answer = self.router.clone().oneshot(request) => answer.expect("infallible").status().is_success(),
        };
        self.busy.fetch_sub(1, Ordering::Relaxed);
        success
    }
}

/// Delivers one message, and does with it what the host does.
pub(crate) fn deliver(shared: &Shared, worker: &Worker, message: Message) {
    let (shared, worker) = (shared.clone(), worker.clone());
    tokio::spawn(async move {
        let item = crate::queue::read(&message.text);
        let text = item.as_ref().map_or_else(
            || String::from_utf8_lossy(&message.text).into_owned(),
            ToString::to_string,
        );
        let delivery = format!("message {} ({})", message.id, message.dequeue_count);
        {
            let mut guard = lock(&shared);
            let world = &mut *guard;
            world.say(&worker.name, format!("{delivery} taken: {text}"));
            // What is none asks for nothing.
            let is_bad = |(queue, bad): &(&str, String)| {
                *queue == message.queue && serde_json::from_str(bad).ok() == item
            };
            let good = item
                .as_ref()
                .filter(|_| !world.bad_messages.iter().any(is_bad));
            let now_ms = world.now_ms();
            world.witness.delivered(
                (&worker.name, worker.block_bytes),
                &message,
                good,
                &world.blobs,
                now_ms,
            );
        }
        let body = format!(
            r#"{{"Data":{{"item":"{}"}},"Metadata":{{"DequeueCount":"{}","Id":"\"{}\""}}}}"#,
            base64::encode(&message.text),
            message.dequeue_count,
            message.id
        );
        let function = if message.queue == WORK {
            "fetch_pages"
        } else {
            "reconcile_user"
        };
        let success = worker.invoke(function, body).await;
        let mut guard = lock(&shared);
        let world = &mut *guard;
        let count = message.dequeue_count;
        world
            .witness
            .finished(message.id, count, success, &world.blobs);
        let words = if success { "done" } else { "FAILED" };
        world.say(&worker.name, format!("{delivery} {words}"));
        if success && world.faults_percent > 0 && world.random.u32(0..40) == 0 {
            world.say("host", format!("could not delete {delivery}"));
        } else if success {
            world.queues.delete(message.id);
        } else {
            let visible_ms = world.now_ms() + 30_000;
            world.queues.put_back(message.id, visible_ms);
        }
    });
}

/// A timer, with the retries of its trigger.
pub(crate) fn tick(shared: &Shared, worker: &Worker, function: &'static str) {
    let (shared, worker) = (shared.clone(), worker.clone());
    tokio::spawn(async move {
        for _ in 0..4 {
            let body = r#"{"Data":{"timer":{"IsPastDue":false}},"Metadata":{}}"#.to_owned();
            let success = worker.invoke(function, body).await;
            lock(&shared).say(&worker.name, format!("tick of {function}: {success}"));
            if success || worker.is_dead() {
                return;
            }
            tokio::time::sleep(Duration::from_mins(1)).await;
        }
    });
}
