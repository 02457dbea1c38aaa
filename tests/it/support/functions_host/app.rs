//! Reads and checks a packaged folder as the host does, and refuses at once what the host would refuse late or pass over
//! in silence.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::syntax::{expand, is_function_name, is_queue_name, parse_time_span, time_span};

/// App settings: name and value.
pub(crate) type Settings = BTreeMap<String, String>;

/// What the host knows about an application.
#[derive(Clone, Debug)]
pub(crate) struct App {
    /// The program, as an absolute path if it lies in the folder.
    pub(crate) executable: PathBuf,
    /// Its arguments; the port is not known yet, so `%VAR%` still stands in them.
    pub(crate) arguments: Vec<String>,
    /// Where it runs.
    pub(crate) working_directory: PathBuf,
    /// `functionTimeout`.
    pub(crate) function_timeout: Duration,
    /// `extensions.queues`.
    pub(crate) queues: QueueOptions,
    /// The enabled functions by name.
    pub(crate) functions: BTreeMap<String, Function>,
}

/// One function, with its settings expanded.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    /// Name of the folder, the route, and the function.
    pub(crate) name: String,
    /// The trigger's key in `Data`.
    pub(crate) binding: String,
    /// What starts it.
    pub(crate) trigger: Trigger,
    /// `retry.maxRetryCount`, if there is a retry policy.
    pub(crate) retries_max: Option<u32>,
}

/// What starts a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// A timer with this schedule.
    Timer { schedule: String },
    /// A message on this queue, delivered as bytes.
    Queue { queue: String },
}

/// `extensions.queues` of host.json, with the host's defaults.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct QueueOptions {
    /// Messages received at once, 1 to 32.
    pub(crate) batch_size: usize,
    /// The next batch is received when no more than this many still run.
    pub(crate) new_batch_threshold: usize,
    /// Longest pause between two looks at an empty queue.
    #[serde(deserialize_with = "time_span")]
    pub(crate) max_polling_interval: Duration,
    /// Delay of a message after a failed attempt.
    #[serde(deserialize_with = "time_span")]
    pub(crate) visibility_timeout: Duration,
    /// The attempt after which a failed message goes to the poison queue.
    pub(crate) max_dequeue_count: u64,
    /// How a message's bytes stand in its text.
    pub(crate) message_encoding: MessageEncoding,
}

/// How a message's bytes stand in its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MessageEncoding {
    /// The text is the base64 of the bytes.
    Base64,
    /// The text is the bytes, as UTF-8.
    None,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            batch_size: 16,
            new_batch_threshold: 8,
            max_polling_interval: Duration::from_mins(1),
            visibility_timeout: Duration::ZERO,
            max_dequeue_count: 5,
            message_encoding: MessageEncoding::Base64,
        }
    }
}

/// The parts of host.json that matter here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HostFile {
    version: String,
    custom_handler: CustomHandler,
    function_timeout: Option<String>,
    #[serde(default)]
    extensions: Extensions,
    extension_bundle: Option<ExtensionBundle>,
}

#[derive(Default, Deserialize)]
struct Extensions {
    #[serde(default)]
    queues: QueueOptions,
}

#[derive(Deserialize)]
struct ExtensionBundle {
    id: String,
    version: String,
}

#[derive(Deserialize)]
struct CustomHandler {
    description: Description,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Description {
    default_executable_path: String,
    #[serde(default)]
    arguments: Vec<String>,
    working_directory: Option<PathBuf>,
}

#[derive(Deserialize)]
struct FunctionFile {
    bindings: Vec<Value>,
    retry: Option<Retry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Retry {
    max_retry_count: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Binding {
    r#type: String,
    direction: String,
    name: String,
    schedule: Option<String>,
    queue_name: Option<String>,
    connection: Option<String>,
    data_type: Option<String>,
}

impl App {
    /// Reads the folder. An error says which file is wrong, and how.
    pub(crate) fn read(root: &Path, settings: &Settings) -> Result<Self, String> {
        let path = root.join("host.json");
        let host: HostFile = read_json(&path)?;
        let in_host = |problem: &str| format!("`{}`: {problem}", path.display());
        if host.version != "2.0" {
            return Err(in_host("`version` must be `2.0`"));
        }
        let function_timeout = match host.function_timeout.as_deref() {
            Some(text) => parse_time_span(text).map_err(|problem| in_host(&problem))?,
            None => Duration::from_mins(30),
        };
        if function_timeout < Duration::from_secs(1) {
            return Err(in_host("`functionTimeout` must be at least a second"));
        }
        let queues = host.extensions.queues;
        check_queue_options(&queues).map_err(|problem| in_host(&problem))?;
        let description = host.custom_handler.description;
        let executable = expand(&description.default_executable_path, settings)?;
        if executable.is_empty() {
            return Err(in_host(
                "`customHandler.description.defaultExecutablePath` is empty",
            ));
        }
        // A name that is no file in the folder is left for the PATH to find.
        let in_folder = root.join(&executable);
        let functions = read_functions(root, settings)?;
        let has_queue = functions
            .values()
            .any(|function| matches!(function.trigger, Trigger::Queue { .. }));
        if has_queue
            && !host.extension_bundle.is_some_and(|bundle| {
                bundle.id == "Microsoft.Azure.Functions.ExtensionBundle"
                    && bundle.version.starts_with("[4.")
            })
        {
            return Err(in_host("a queue trigger needs `extensionBundle` 4"));
        }
        Ok(Self {
            executable: if in_folder.is_file() {
                in_folder
            } else {
                executable.into()
            },
            arguments: description.arguments,
            working_directory: root.join(description.working_directory.unwrap_or_default()),
            function_timeout,
            queues,
            functions,
        })
    }
}

fn check_queue_options(queues: &QueueOptions) -> Result<(), String> {
    if !(1..=32).contains(&queues.batch_size) {
        return Err("`extensions.queues.batchSize` must be 1 to 32".to_owned());
    }
    if queues.max_dequeue_count < 1 {
        return Err("`extensions.queues.maxDequeueCount` must be at least 1".to_owned());
    }
    if queues.max_polling_interval < Duration::from_millis(100) {
        return Err("`extensions.queues.maxPollingInterval` must be at least 100 ms".to_owned());
    }
    Ok(())
}

/// Reads `<function>/function.json`, one level deep.
fn read_functions(root: &Path, settings: &Settings) -> Result<BTreeMap<String, Function>, String> {
    let mut functions = BTreeMap::new();
    for entry in fs::read_dir(root).map_err(|error| format!("`{}`: {error}", root.display()))? {
        let folder = entry.unwrap().path();
        let path = folder.join("function.json");
        if !path.is_file() {
            continue;
        }
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let disabled = settings.get(&format!("AzureWebJobs.{name}.Disabled"));
        if disabled.is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1") {
            continue;
        }
        if fs::read_dir(&folder).unwrap().count() > 1 {
            return Err(format!(
                "`{}`: another file beside function.json counts as its script",
                folder.display()
            ));
        }
        let function = read_json(&path)
            .and_then(|file| function(&name, file, settings))
            .map_err(|problem| format!("function `{name}`: {problem}"))?;
        functions.insert(name, function);
    }
    if functions.is_empty() {
        return Err(format!(
            "`{}`: no functions found, so the host would not start the program",
            root.display()
        ));
    }
    Ok(functions)
}

fn function(name: &str, file: FunctionFile, settings: &Settings) -> Result<Function, String> {
    if !is_function_name(name) {
        return Err("not a legal function name".to_owned());
    }
    let [binding] = file.bindings.as_slice() else {
        return Err(format!(
            "{} bindings; this double knows functions with a trigger alone",
            file.bindings.len()
        ));
    };
    let binding: Binding =
        serde_json::from_value(binding.clone()).map_err(|error| error.to_string())?;
    if binding.direction != "in" {
        return Err("a trigger's `direction` must be `in`".to_owned());
    }
    if !binding
        .name
        .starts_with(|first: char| first.is_ascii_alphabetic())
        || !binding
            .name
            .chars()
            .all(|character| character.is_ascii_alphanumeric())
    {
        return Err(format!(
            "binding name `{}` must be ASCII letters and digits",
            binding.name
        ));
    }
    // Timers keep their state and their lock in the host's storage; a queue names its storage.
    check_connection(
        binding
            .connection
            .as_deref()
            .unwrap_or("AzureWebJobsStorage"),
        settings,
    )?;
    let trigger = match binding.r#type.as_str() {
        "timerTrigger" => {
            let schedule = expand(&binding.schedule.ok_or("`schedule` is missing")?, settings)?;
            if !matches!(schedule.split_whitespace().count(), 5 | 6) {
                return Err(format!("`{schedule}` is not an NCRONTAB expression"));
            }
            Trigger::Timer { schedule }
        }
        "queueTrigger" => {
            if binding.data_type.as_deref() != Some("binary") {
                return Err(
                    "this double knows only queue triggers with `dataType` `binary`".to_owned(),
                );
            }
            if file.retry.is_some() {
                return Err("a queue trigger takes no `retry` policy".to_owned());
            }
            let queue = expand(
                &binding.queue_name.ok_or("`queueName` is missing")?,
                settings,
            )?
            .to_lowercase();
            if !is_queue_name(&queue) {
                return Err(format!("`{queue}` is not a legal queue name"));
            }
            Trigger::Queue { queue }
        }
        other => return Err(format!("this double does not know `{other}`")),
    };
    Ok(Function {
        name: name.to_owned(),
        binding: binding.name,
        trigger,
        retries_max: file.retry.map(|retry| retry.max_retry_count),
    })
}

/// A connection is a setting, or the prefix of settings for an identity.
fn check_connection(connection: &str, settings: &Settings) -> Result<(), String> {
    let prefix = format!("{connection}__");
    if settings
        .keys()
        .any(|name| name == connection || name.starts_with(&prefix))
    {
        Ok(())
    } else {
        Err(format!(
            "connection `{connection}` is not among the app settings"
        ))
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text =
        fs::read_to_string(path).map_err(|error| format!("`{}`: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("`{}`: {error}", path.display()))
}
