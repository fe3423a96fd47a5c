//! The command line: what may be typed, and the help for it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod config;

pub(crate) use config::{ConfigArguments, Format, Hashed, Shown};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "roads",
    version,
    about = "Runs an application made of services, as a compose file declares it",
    after_help = "Example:\n  roads up -d -f examples/coins/compose.yaml\n  roads ps"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which app, and by which files.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Selection {
    /// A compose file; later ones are merged over earlier ones; `-` is standard input
    #[arg(short, long = "file", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) named: Named,
}

/// As [`Selection`], where `-f` means "follow".
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LongSelection {
    /// A compose file; later ones are merged over earlier ones
    #[arg(long = "file", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) named: Named,
}

/// What belongs to a selection beside its files.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Named {
    /// The name of the app; else the file's, else that of its folder
    #[arg(
        short = 'p',
        long = "app",
        visible_alias = "project-name",
        value_name = "NAME"
    )]
    pub(crate) name: Option<String>,
    /// The folder that relative paths begin at; else that of the first file
    #[arg(long, value_name = "FOLDER")]
    pub(crate) project_directory: Option<PathBuf>,
    /// A profile to activate; may be given again
    #[arg(long = "profile", value_name = "PROFILE")]
    pub(crate) profiles: Vec<String>,
    /// A file of variables in place of `.env`; may be given again
    #[arg(long = "env-file", value_name = "FILE")]
    pub(crate) env_files: Vec<PathBuf>,
}

impl From<LongSelection> for Selection {
    fn from(long: LongSelection) -> Self {
        Self {
            files: long.files,
            named: long.named,
        }
    }
}

impl Selection {
    /// This selection, and what it leaves open as `before` has it: `roads -p coins ps`.
    pub(crate) fn or(self, before: Self) -> Self {
        fn list<T>(own: Vec<T>, before: Vec<T>) -> Vec<T> {
            if own.is_empty() { before } else { own }
        }
        Self {
            files: list(self.files, before.files),
            named: Named {
                name: self.named.name.or(before.named.name),
                project_directory: self
                    .named
                    .project_directory
                    .or(before.named.project_directory),
                profiles: list(self.named.profiles, before.named.profiles),
                env_files: list(self.named.env_files, before.named.env_files),
            },
        }
    }
}

/// Whether data is printed for people or for programs.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Json {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// One command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make an app what its compose file declares
    #[command(
        after_help = "Examples:\n  roads up                  start it, show its logs; Ctrl-C stops it\n  roads up -d               start it and return when it is ready\n  roads up -d --lazy        start each service when it is first called\n  roads up -d rng hasher    start two services and what they depend on"
    )]
    Up(UpArguments),
    /// Take an app down: end its instances and forget them
    #[command(after_help = "Example:\n  roads down -v    with its named volumes")]
    Down(DownArguments),
    /// List the apps
    #[command(after_help = "Example:\n  roads ls --json")]
    Ls(Json),
    /// List the services of an app
    #[command(after_help = "Example:\n  roads ps --wide    with addresses and owners")]
    Ps(PsArguments),
    /// Show what instances wrote
    #[command(after_help = "Example:\n  roads logs -f --since 5m rng worker")]
    Logs(LogsArguments),
    /// Say how many instances services are to have
    #[command(after_help = "Example:\n  roads scale rng=3 hasher=2")]
    Scale(ScaleArguments),
    /// Wake services as a call would; done when they are ready
    #[command(after_help = "Example:\n  roads wake rng")]
    Wake(ServicesArguments),
    /// Put services to sleep until they are called
    #[command(after_help = "Example:\n  roads rest rng")]
    Rest(ServicesArguments),
    /// Replace the instances of services by fresh ones
    #[command(after_help = "Example:\n  roads restart worker")]
    Restart(ServicesArguments),
    /// Stop services and keep them
    #[command(after_help = "Example:\n  roads stop worker")]
    Stop(ServicesArguments),
    /// Stop services at once, or send their programs a signal
    #[command(after_help = "Examples:\n  roads kill worker\n  roads kill -s HUP webui")]
    Kill(KillArguments),
    /// Start stopped services again
    #[command(after_help = "Example:\n  roads start worker")]
    Start(ServicesArguments),
    /// Run a command inside an instance
    #[command(
        after_help = "Examples:\n  roads exec -it rng sh\n  echo hello | roads exec -T rng cat"
    )]
    Exec(ExecArguments),
    /// Show what happened
    #[command(after_help = "Example:\n  roads events -f")]
    Events(EventsArguments),
    /// Show the app as its compose files declare it, resolved
    #[command(
        after_help = "Examples:\n  roads config --format json\n  roads config --services\n  roads config --schema > roads-schema.json"
    )]
    Config(ConfigArguments),
    /// Say why a service is as it is
    #[command(after_help = "Example:\n  roads explain rng")]
    Explain(ExplainArguments),
    /// Say which engines this machine has, and which one runs what
    #[command(after_help = "Example:\n  roads engines --json")]
    Engines(Json),
    /// Run the daemon; commands start it when they need it
    #[command(
        after_help = "Example:\n  roads daemon           in the foreground\n  roads daemon --stop    end it; instances run on"
    )]
    Daemon(DaemonArguments),
    /// Show the release of this command and of the daemon
    #[command(after_help = "Example:\n  roads version --json")]
    Version(Json),
    /// Print completions for a shell
    #[command(after_help = "Example:\n  source <(roads completions bash)")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the OpenAPI document of the daemon's API
    #[command(hide = true, after_help = "Example:\n  roads openapi > openapi.json")]
    Openapi,
}

#[derive(Debug, Args)]
pub(crate) struct UpArguments {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Return when the services are ready, or asleep
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Start each service when it is first called
    #[arg(long)]
    pub(crate) lazy: bool,
    /// Refuse a file with a key that is not honoured
    #[arg(long)]
    pub(crate) strict: bool,
    /// The number of instances of a service, over the file's
    #[arg(long, value_name = "SERVICE=N", value_parser = service_count)]
    pub(crate) scale: Vec<(String, u32)>,
    /// What runs the instances
    #[arg(long, value_enum, env = "ROADS_ENGINE", default_value_t)]
    pub(crate) engine: EngineName,
    /// Fail when the services are not ready within this many seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) wait_timeout: Option<u64>,
    #[command(flatten)]
    pub(crate) json: Json,
    /// The services to start, with those that they depend on; all when none is named
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DownArguments {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Remove its named volumes too
    #[arg(short, long)]
    pub(crate) volumes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PsArguments {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Show where services answer, and their owners, also in a narrow terminal
    #[arg(short, long)]
    pub(crate) wide: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArguments {
    #[command(flatten)]
    pub(crate) selection: LongSelection,
    /// Go on with what is written from now on
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Lines since a time, or since that long ago
    #[arg(long, value_name = "5m|TIME")]
    pub(crate) since: Option<String>,
    /// At most this many lines of each instance
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) tail: Option<usize>,
    /// Show the time of each line
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    #[command(flatten)]
    pub(crate) json: Json,
    /// The services; all when none is named
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ScaleArguments {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// The number of instances, by service
    #[arg(required = true, value_name = "SERVICE=N", value_parser = service_count)]
    pub(crate) scale: Vec<(String, u32)>,
}

#[derive(Debug, Args)]
pub(crate) struct ServicesArguments {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// The services; all when none is named
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct KillArguments {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// The signal; any but SIGKILL is sent and no more
    #[arg(short, long, value_name = "SIGNAL", default_value = "SIGKILL")]
    pub(crate) signal: String,
    /// The services; all when none is named
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ExecArguments {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Give the command this input; it gets it anyway
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give it a terminal; it gets one anyway when this is one
    #[arg(short, long, conflicts_with = "no_tty")]
    pub(crate) tty: bool,
    /// Give it no terminal
    #[arg(short = 'T', long)]
    pub(crate) no_tty: bool,
    /// A variable for it; may be given again
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,
    /// The user it runs as
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// The folder it starts in
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) workdir: Option<String>,
    /// Which instance of the service
    #[arg(long, value_name = "N")]
    pub(crate) index: Option<u32>,
    /// The service
    pub(crate) service: String,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct EventsArguments {
    #[command(flatten)]
    pub(crate) selection: LongSelection,
    /// Go on with what happens from now on
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// At most this many, the newest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    pub(crate) tail: usize,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) json: Json,
    /// The service
    pub(crate) service: String,
}

#[derive(Debug, Args)]
pub(crate) struct DaemonArguments {
    /// What runs the instances
    #[arg(long, value_enum, env = "ROADS_ENGINE", default_value_t)]
    pub(crate) engine: EngineName,
    /// End the daemon that runs; instances run on
    #[arg(long)]
    pub(crate) stop: bool,
    /// Leave the terminal behind; how commands start it
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
}

/// What runs instances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum EngineName {
    /// What each image asks for: `host` the embedded engine, every other Docker
    #[default]
    Auto,
    /// Containers of a Docker Engine of this machine
    Docker,
    /// Nothing else need be installed
    Embedded,
}

impl EngineName {
    /// Its name, as it is typed.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Docker => "docker",
            Self::Embedded => "embedded",
        }
    }

    /// Whether a daemon that holds these engines will do: `embedded and docker`.
    pub(crate) fn is_among(self, held: &str) -> bool {
        self == Self::Auto || held.split(" and ").any(|name| name == self.as_str())
    }
}

fn service_count(text: &str) -> Result<(String, u32), String> {
    let (service, count) = text
        .split_once('=')
        .ok_or_else(|| "write it as SERVICE=N".to_owned())?;
    let count = count
        .parse()
        .map_err(|_| format!("{count:?} is no number of instances"))?;
    Ok((service.to_owned(), count))
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("write it as NAME=VALUE".to_owned()),
    }
}
