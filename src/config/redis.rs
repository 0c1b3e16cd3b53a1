//! The section `redis`: whether what Slips knows is mirrored there, and who may say something by it. Off by default.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use slips_store::redis::{Place, Server, Word};

use super::Length;
use super::services::read_key;

/// `redis`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redis {
    /// Where it is; empty: there is none.
    pub url: String,
    /// The user of its access list; empty: the one in the URL, or the default one.
    pub username: String,
    /// File whose first line is the password; empty: none.
    pub password_file: PathBuf,
    /// PEM of those who vouch for its certificate; empty: the public ones.
    pub ca_file: PathBuf,
    /// What this router is called in its keys; empty: the host's name.
    pub name: String,
    /// Whether it acts, or takes the place of the one that does, under the same name.
    pub role: Role,
    /// Blocks that all routers there have.
    pub fleet: FleetBlocks,
    /// What all keys begin with.
    pub prefix: String,
    /// How long a key outlives its last change.
    pub ttl: Length,
    /// Whether other programs may tell of evidence.
    pub outside_evidence: bool,
    /// Whether other programs may have somebody blocked and unblocked.
    pub commands: bool,
    /// File whose first line is the secret by which both are signed; empty: none.
    pub shared_secret_file: PathBuf,
    /// Modules that need no signature, each on a channel of its own that Redis' access list keeps for it.
    pub acl_modules: Vec<String>,
    /// Modules whose evidence counts as proven.
    pub proven_modules: Vec<String>,
}

/// `redis.role`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It acts.
    #[default]
    Active,
    /// It watches, and acts when the one that does has died.
    Standby,
}

/// `redis.fleet`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FleetBlocks {
    /// What of this router's blocks others are told.
    pub share: Share,
    /// Whether blocks of others are taken over.
    pub take: bool,
    /// For how long at most.
    pub longest: Length,
}

impl Default for FleetBlocks {
    fn default() -> Self {
        Self { share: Share::None, take: false, longest: Length::secs(86_400) }
    }
}

impl FleetBlocks {
    /// Whether anything of it is wanted.
    pub fn is_on(&self) -> bool {
        self.take || self.share != Share::None
    }
}

/// `redis.fleet.share`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Share {
    /// Nothing.
    #[default]
    None,
    /// What a person has blocked.
    Hand,
    /// And what an alert has whose sender nobody forged.
    Proven,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            url: String::new(),
            username: String::new(),
            password_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            name: String::new(),
            role: Role::Active,
            fleet: FleetBlocks::default(),
            prefix: "slips".into(),
            ttl: Length::secs(86_400),
            outside_evidence: false,
            commands: false,
            shared_secret_file: PathBuf::new(),
            acl_modules: Vec::new(),
            proven_modules: Vec::new(),
        }
    }
}

/// Modules that can be named.
const MOST_MODULES: usize = 64;
/// Shortest secret, in letters.
const SECRET: usize = 16;

impl Redis {
    /// Whether there is one.
    pub const fn is_on(&self) -> bool {
        !self.url.is_empty()
    }

    /// Password and secret may be credentials of the unit; what the configuration names goes before.
    pub fn find_keys(&mut self, credentials: &Path) {
        for (file, name) in [
            (&mut self.password_file, "slips-redis-password"),
            (&mut self.shared_secret_file, "slips-redis-secret"),
        ] {
            let given = credentials.join(name);
            if file.as_os_str().is_empty() && given.exists() {
                *file = given;
            }
        }
    }

    /// Where it is and how to get in.
    ///
    /// # Errors
    /// Says what is wrong with the URL or the file of the password.
    pub fn server(&self) -> Result<Server, String> {
        let mut server = self.place()?;
        if !self.password_file.as_os_str().is_empty() {
            server.password = Some(read_key(&self.password_file)?);
        }
        Ok(server)
    }

    fn place(&self) -> Result<Server, String> {
        let mut server = Server::parse(&self.url).map_err(|wrong| format!("redis.url: {wrong}"))?;
        if !self.username.is_empty() {
            server.username = Some(self.username.clone());
        }
        if let Place::Tls { authorities, .. } = &mut server.place {
            *authorities = Some(self.ca_file.clone()).filter(|file| !file.as_os_str().is_empty());
        }
        Ok(server)
    }

    /// The secret by which words of others are signed; none where no file is named.
    ///
    /// # Errors
    /// Says what is wrong with the file.
    pub fn secret(&self) -> Result<Option<String>, String> {
        let file = &self.shared_secret_file;
        if file.as_os_str().is_empty() {
            return Ok(None);
        }
        let secret = read_key(file)?;
        if secret.len() < SECRET {
            return Err(format!("{}: a secret has at least {SECRET} letters", file.display()));
        }
        Ok(Some(secret))
    }

    /// What this router is called: as configured, or as the host is.
    pub fn router(&self) -> Word {
        let host = || {
            let host = nix::unistd::gethostname().ok()?.into_string().ok()?;
            Word::new(host.split('.').next()?.to_ascii_lowercase().as_str())
        };
        Word::new(&self.name).or_else(host).unwrap_or_default()
    }

    /// What all keys begin with.
    pub fn prefix(&self) -> Word {
        Word::new(&self.prefix).unwrap_or_default()
    }

    /// What is wrong with the values.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut check = |ok: bool, what: &str| {
            if !ok {
                wrong.push(what.to_owned());
            }
        };
        check(
            self.role == Role::Active || self.is_on(),
            "redis.role: a standby finds out by redis.url who acts",
        );
        if let Some(what) = self.is_on().then(|| self.place().err()).flatten() {
            check(false, &what);
        }
        check(
            (60..=31_536_000).contains(&self.fleet.longest.0.as_secs()),
            "redis.fleet.longest must be 1m to 365d; 1d is the default",
        );
        let is_word = |text: &str| Word::new(text).is_some();
        check(is_word(&self.prefix), "redis.prefix is made of up to 63 letters, digits, - _ .");
        check(
            self.name.is_empty() || is_word(&self.name),
            "redis.name is made of up to 63 letters, digits, - _ . or empty: the host's name",
        );
        check(
            (60..=31_536_000).contains(&self.ttl.0.as_secs()),
            "redis.ttl must be 1m to 365d; 1d is the default",
        );
        for (key, modules) in [("acl_modules", &self.acl_modules), ("proven_modules", &self.proven_modules)] {
            check(
                modules.len() <= MOST_MODULES && modules.iter().all(|module| is_word(module)),
                &format!("redis.{key}: {MOST_MODULES} names at most, of up to 63 letters, digits, - _ ."),
            );
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(yaml: &str) -> Vec<String> {
        serde_saphyr::from_str::<Redis>(yaml).expect("read").problems()
    }

    #[test]
    fn what_is_wrong_is_said_by_its_key() {
        assert_eq!(problems("{}"), Vec::<String>::new());
        assert_eq!(problems("url: rediss://slips@redis.example:6380/1\nname: gw-1"), Vec::<String>::new());
        for (yaml, key) in [
            ("url: redis://slips:hunter2@h", "redis.url: a password belongs into a file"),
            ("url: localhost", "redis.url"),
            ("prefix: ''", "redis.prefix"),
            ("name: 'a:b'", "redis.name"),
            ("ttl: 5s", "redis.ttl"),
            ("role: standby", "redis.role"),
            ("fleet: {longest: 1s}", "redis.fleet.longest"),
            ("acl_modules: ['a b']", "redis.acl_modules"),
        ] {
            let said = problems(yaml);
            assert!(matches!(said.as_slice(), [one] if one.starts_with(key)), "{yaml}: {said:?}");
        }
    }

    #[test]
    fn secrets_come_from_files_and_credentials() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("dir");
        let put = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("set");
            path
        };
        let mut redis = Redis { url: "redis://u@h".into(), ..Redis::default() };
        assert_eq!(redis.secret(), Ok(None));
        put("slips-redis-password", "correct-horse\n");
        put("slips-redis-secret", "0123456789abcdef\n");
        redis.find_keys(dir.path());
        assert_eq!(redis.server().expect("a server").password.as_deref(), Some("correct-horse"));
        assert_eq!(redis.secret(), Ok(Some("0123456789abcdef".into())));
        redis.shared_secret_file = put("short", "0123456789\n");
        redis.secret().expect_err("short");
    }
}
