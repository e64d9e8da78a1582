//! The address of a store, as `[store]` has it.

use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

use super::fault::Wrong;

/// Where sessions are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreAddress {
    /// In this process, until it ends.
    Memory,
    /// In a file, until it is removed.
    File(PathBuf),
    /// In a Redis or Valkey server, `redis` in clear or `rediss` within TLS: for all replicas.
    Redis(Url),
}

impl StoreAddress {
    /// Reads `memory:`, `file:PATH`, `redis://HOST:PORT` or `rediss://HOST:PORT`, the last two with the number of a database
    /// as their path, or none.
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        const HELP: &str = "write \"memory:\", \"file:state.db\", \"redis://host:6379\" or \"rediss://host:6379\"";
        if text == "memory:" {
            return Ok(Self::Memory);
        }
        if let Some(path) = text.strip_prefix("file:") {
            return match path {
                "" => Err(Wrong::new("`file:` without a path", HELP)),
                path => Ok(Self::File(PathBuf::from(path))),
            };
        }
        let url = Url::parse(text).map_err(|why| Wrong::new(format!("not the address of a store: {why}"), HELP))?;
        if !matches!(url.scheme(), "redis" | "rediss") {
            return Err(Wrong::new(format!("a store of the kind `{}` is not known", url.scheme()), HELP));
        }
        if !url.username().is_empty() || url.password().is_some() {
            let help = "use `username` and `password = { file = \"...\" }` beside it";
            return Err(Wrong::new("the address of a store holds no user and no password", help));
        }
        let database = url.path().trim_start_matches('/');
        let numbered = database.is_empty() || database.parse::<u8>().is_ok();
        if url.host().is_none() || !numbered || url.query().is_some() || url.fragment().is_some() {
            let help = "write host and port, and the number of a database where it is not 0: \"redis://host:6379/1\"";
            return Err(Wrong::new(format!("`{text}` is not the address of a Redis server"), help));
        }
        Ok(Self::Redis(url))
    }

    /// The same, with a relative path taken from `directory`.
    pub(super) fn within(self, directory: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(directory.join(path)),
            Self::Memory | Self::Redis(_) => self,
        }
    }

    /// Whether what is kept there may be read by others, or after a restart: then keys must be given.
    pub fn outlives_process(&self) -> bool {
        match self {
            Self::Memory => false,
            Self::File(_) | Self::Redis(_) => true,
        }
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Redis(url) => f.write_str(url.as_str()),
        }
    }
}
