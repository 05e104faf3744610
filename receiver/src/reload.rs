//! SIGHUP: configuration and secrets are read anew, and are in force as a whole or not at all.
//!
//! Whatever is wrong with them, the former ones stay. Requests in flight end with what they began with, and no
//! connection notices anything.

use std::path::PathBuf;
use std::sync::Arc;

use hookspool_common::clock::Clock;
use hookspool_common::config::Config;
use tokio::signal::unix::Signal;
use tokio::task::spawn_blocking;

use crate::live::{InForce, Live, Unfit};
use crate::metrics::Metrics;
use crate::systemd;

/// What reloading needs.
pub(crate) struct Reloader<C> {
    pub(crate) file: PathBuf,
    pub(crate) in_force: Arc<InForce>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: C,
}

impl<C: Clock> Reloader<C> {
    /// Reloads at each `hangup`, one after the other, for ever.
    pub(crate) async fn run(self, mut hangup: Signal) {
        while hangup.recv().await.is_some() {
            systemd::reloading();
            systemd::ready(&self.reload().await);
        }
    }

    /// Reloads once, and says in a sentence what came of it.
    async fn reload(&self) -> String {
        let file = self.file.clone();
        let read = spawn_blocking(move || Live::read(&file)).await;
        let now = self.clock.now();
        match read {
            Ok(Ok(mut live)) => {
                for key in keep_what_is_fixed(&self.in_force.now().config, &mut live.config) {
                    tracing::warn!(key, "{key} has changed; restart to apply that, the rest is in force");
                }
                self.metrics.reloaded(&live.config, now);
                self.in_force.replace(live);
                tracing::info!("the configuration was reloaded");
                return format!("the configuration of {now} is in force");
            }
            Ok(Err(unfit)) => log(&unfit),
            Err(error) => tracing::error!(%error, "the configuration cannot be read"),
        }
        self.metrics.reload_failed();
        tracing::error!("the configuration was not reloaded; the former one stays in force");
        format!("reloading failed at {now}, the log says why; the former configuration stays in force")
    }
}

/// Puts what cannot change while the program runs back to what it was, and names what would have changed.
fn keep_what_is_fixed(former: &Config, config: &mut Config) -> Vec<&'static str> {
    fn keep<T: PartialEq + Clone>(key: &'static str, former: &T, value: &mut T) -> Option<&'static str> {
        let changed = former != value;
        value.clone_from(former);
        changed.then_some(key)
    }
    let (receiver, new) = (&former.receiver, &mut config.receiver);
    let kept = [
        keep("[receiver] listen", &receiver.listen, &mut new.listen),
        keep("[receiver] metrics", &receiver.metrics, &mut new.metrics),
        keep("[receiver] user", &receiver.user, &mut new.user),
        keep("[paths] spool", &former.paths.spool, &mut config.paths.spool),
    ];
    kept.into_iter().flatten().collect()
}

/// Says everything that is wrong, each with its place.
fn log(unfit: &Unfit) {
    match unfit {
        Unfit::Config(problems) => {
            for problem in problems.iter() {
                let (line, column) = problem.place.unzip();
                let config = problem.file.display();
                let help = problem.help.as_deref();
                match problem.place {
                    Some((at, from)) => {
                        tracing::error!(%config, line, column, help, "{config}:{at}:{from}: {}", problem.message);
                    }
                    None => tracing::error!(%config, help, "{config}: {}", problem.message),
                }
            }
        }
        Unfit::Secrets(errors) => errors.iter().for_each(|error| tracing::error!("{error}")),
    }
}
