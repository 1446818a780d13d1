//! The workspace that a server serves, and whom it admits.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use openagents_protocol::record::Role;
use openagents_protocol::{ErrorBody, ErrorCode, Secret};
use openagents_workspace::{
    Group, Groups, Principal, Settings, StoreError, Workspace, password_hash, stored_hash,
};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, Limits, Open};
use crate::legacy::Desk;

/// What every connection shares.
#[derive(Debug)]
pub(crate) struct Host {
    workspace: ArcSwap<Workspace>,
    data: PathBuf,
    settings: Settings,
    pub(crate) limits: Limits,
    /// Stored hashes of the operator's tokens.
    tokens: Vec<String>,
    open: Open,
    exposed: bool,
    groups: Option<Groups>,
    /// There was a token.
    guarded: AtomicBool,
    allowed_origins: Vec<String>,
    /// Every connection holds a token of it, so that a shutdown can wait.
    pub(crate) tracker: TaskTracker,
    pub(crate) stopping: CancellationToken,
    /// What the interface of OpenAgents 0.9 keeps for itself.
    pub(crate) desk: Desk,
}

/// What somebody shows to be admitted.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    pub(crate) token: Option<Secret>,
    pub(crate) password_hash: Option<Secret>,
}

impl Host {
    pub(crate) fn new(workspace: Workspace, config: &Config) -> Self {
        let tokens = config
            .tokens
            .iter()
            .map(|token| stored_hash(&password_hash(token.expose())))
            .collect();
        Self {
            workspace: ArcSwap::from_pointee(workspace),
            data: config.data.clone(),
            settings: config.workspace.clone(),
            limits: config.limits.clone(),
            tokens,
            open: config.open,
            exposed: config.is_exposed(),
            groups: Groups::of(&config.workspace),
            guarded: AtomicBool::new(false),
            allowed_origins: config.allowed_origins.clone(),
            tracker: TaskTracker::new(),
            stopping: CancellationToken::new(),
            desk: Desk::new(config.legacy.clone(), &config.data, config.tls.is_some()),
        }
    }

    pub(crate) fn workspace(&self) -> Arc<Workspace> {
        self.workspace.load_full()
    }

    /// Whether everybody is admitted: the operator insists, or only this machine can reach the server and there never
    /// was a token since it started. Revoking the last token does not open the door.
    pub(crate) fn is_open(&self) -> bool {
        if self.workspace.load().has_tokens() {
            self.guarded.store(true, Ordering::Relaxed);
        }
        self.open == Open::Anywhere
            || (!self.exposed && self.tokens.is_empty() && !self.guarded.load(Ordering::Relaxed))
    }

    /// Who somebody is by what they show: the bearer of a token, an agent of a group, or anybody where the workspace is
    /// open.
    pub(crate) async fn authenticate(&self, credentials: &Credentials) -> Result<Principal, ErrorBody> {
        let token = credentials.token.as_ref();
        let hash = credentials.password_hash.as_ref();
        let shown = token.map(|token| password_hash(token.expose()));
        let shown = shown
            .into_iter()
            .chain(hash.map(|hash| hash.expose().to_ascii_lowercase()));
        let message = "this workspace wants a token: ask its operator for one, and give it as `token`";
        let mut refusal = ErrorBody::field(ErrorCode::Unauthenticated, "token", message);
        for shown in shown {
            match self.by_token(&shown) {
                Err(error) if error.code == ErrorCode::Unauthenticated => refusal = error,
                Err(error) => return Err(error),
                Ok(principal) => return Ok(self.grouped(principal, credentials).await),
            }
        }
        let Some(groups) = &self.groups else {
            let role = if self.exposed { Role::Member } else { Role::Admin };
            return if self.is_open() {
                Ok(Principal::anyone(role))
            } else {
                Err(refusal)
            };
        };
        if let Some(password) = credentials.password_hash.as_ref().or(credentials.token.as_ref())
            && let Some(group) = groups.by_password(password).await
        {
            return Ok(Principal::of_group(group));
        }
        match groups.without_password().filter(|_| self.is_open()) {
            Some(group) => Ok(Principal::of_group(group)),
            None => Err(refusal),
        }
    }

    /// The group whose password this is.
    pub(crate) async fn group_of_password(&self, shown: &Secret) -> Option<Arc<Group>> {
        match &self.groups {
            Some(groups) => groups.by_password(shown).await,
            None => None,
        }
    }

    /// Whether a web page comes from a server on this machine.
    #[expect(
        clippy::unused_self,
        reason = "it stands beside the other questions about pages"
    )]
    pub(crate) fn is_local_origin(&self, origin: Option<&str>) -> bool {
        let authority = origin.and_then(|origin| origin.split_once("://"));
        authority.is_some_and(|(_, authority)| is_loopback_name(authority))
    }

    /// Whoever a token admits, in the group whose password is shown beside it.
    async fn grouped(&self, principal: Principal, credentials: &Credentials) -> Principal {
        let (Some(groups), Some(_), Some(password)) =
            (&self.groups, &credentials.token, &credentials.password_hash)
        else {
            return principal;
        };
        match groups.by_password(password).await {
            Some(group) => principal.joining(group),
            None => principal,
        }
    }

    /// Whom a token admits, by its hash.
    fn by_token(&self, shown: &str) -> Result<Principal, ErrorBody> {
        let stored = stored_hash(shown);
        let ours = |known: &String| bool::from(known.as_bytes().ct_eq(stored.as_bytes()));
        if self.tokens.iter().any(ours) {
            return Ok(Principal::anyone(Role::Member));
        }
        self.workspace.load().authenticate(shown)
    }

    /// Whether a web page of this origin may connect. Programs that are no browsers send no origin.
    ///
    /// A page of any site can send requests to a server on the same machine; the name by which it reached the server
    /// tells nothing then, unless it is a name of the machine itself.
    pub(crate) fn admits_origin(&self, origin: Option<&str>, host: Option<&str>) -> bool {
        let Some(origin) = origin else { return true };
        if self
            .allowed_origins
            .iter()
            .any(|allowed| allowed == origin || allowed == "*")
        {
            return true;
        }
        let Some((_, authority)) = origin.split_once("://") else {
            return false;
        };
        let same = host.is_some_and(|host| host.eq_ignore_ascii_case(authority));
        same && (!self.is_open() || is_loopback_name(authority))
    }

    /// Whether a request over this name of the server may be answered.
    ///
    /// A page can have its own name point to this machine, and then asks the server without an origin, as if it were
    /// the server's own page. Where neither a token nor the network keeps pages out, only names of this machine count,
    /// and those of the allowed origins.
    pub(crate) fn admits_name(&self, host: Option<&str>) -> bool {
        let Some(host) = host else { return true };
        let allowed = |origin: &String| {
            origin == "*"
                || origin
                    .split_once("://")
                    .is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
        };
        self.exposed || !self.is_open() || is_loopback_name(host) || self.allowed_origins.iter().any(allowed)
    }

    /// Opens the workspace again whenever its store fails, until the server stops.
    pub(crate) async fn supervise(self: Arc<Self>) {
        loop {
            let workspace = self.workspace();
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = workspace.failed() => {}
            }
            workspace.close().await;
            drop(workspace);
            let mut pause = Duration::from_millis(100);
            loop {
                match self.reopen().await {
                    Ok(()) => break,
                    Err(error) => tracing::error!(%error, "the workspace could not be opened again"),
                }
                tokio::select! {
                    () = self.stopping.cancelled() => return,
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(10)),
                }
            }
        }
    }

    async fn reopen(&self) -> Result<(), StoreError> {
        let workspace = Workspace::open(&self.data, self.settings.clone()).await?;
        tracing::warn!(head = %workspace.head(), "the workspace was opened again");
        self.workspace.store(Arc::new(workspace));
        Ok(())
    }
}

fn is_loopback_name(authority: &str) -> bool {
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    };
    let name = name.trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
