//! The memory that the process may have, and what is done before it is used up.
//!
//! Where a control group bounds it, as containers do, the kernel kills a process that takes more, and with it every request.
//! Before that, what can be had again is dropped, and requests beyond a few at a time are refused as `overloaded`: not all of
//! them, because what an allocator has freed may still count as used, and would never be given back otherwise.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::gateway::Shared;

/// How often it is looked while less than half of the limit is used, and how often else.
const SELDOM: Duration = Duration::from_millis(250);
const OFTEN: Duration = Duration::from_millis(50);

/// From this share of the limit on memory is short, in percent.
const SHORT: u64 = 85;
/// Beneath this share it is short no longer, in percent.
const ENOUGH: u64 = 80;

/// The control groups that may bound the memory of this process, of either version (cgroups(7)); each is a directory.
pub fn groups() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    text.lines().filter_map(hierarchy).flat_map(|(root, own)| within(root, own)).collect()
}

/// Where the hierarchy of such a line is that may bound memory, and the process's own group in it.
fn hierarchy(line: &str) -> Option<(&Path, &Path)> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, own) = (fields.next()?, fields.next()?.strip_prefix('/')?);
    let root = match controllers {
        // Version 2 has one hierarchy for everything.
        "" => "/sys/fs/cgroup",
        "memory" => "/sys/fs/cgroup/memory",
        _ => return None,
    };
    Some((Path::new(root), Path::new(own)))
}

/// A group and those that it is part of. In a container they may be told by names that exist only outside; its own group is
/// then the root.
fn within(root: &Path, own: &Path) -> Vec<PathBuf> {
    let own = root.join(own);
    own.ancestors().take_while(|group| group.starts_with(root)).map(Path::to_owned).collect()
}

/// How much memory these groups may have, in bytes; none where they are not bounded.
pub(super) fn limit(groups: &[PathBuf]) -> Option<u64> {
    groups.iter().filter_map(|group| Usage::of(group)).map(|usage| usage.limit).min()
}

/// Tells `shared` whenever memory becomes short, and when it is no longer.
pub(super) async fn watch(groups: Vec<PathBuf>, shared: Arc<Shared>) {
    if groups.is_empty() {
        return;
    }
    let mut short = false;
    loop {
        let used = groups.iter().filter_map(|group| Usage::of(group)).max_by_key(|usage| usage.percent());
        // A limit may come and go while the process runs.
        let usage = used.unwrap_or(Usage { used: 0, limit: u64::MAX });
        let now_short = usage.percent() >= if short { ENOUGH } else { SHORT };
        if now_short != short {
            short = now_short;
            tell(short, usage);
            shared.memory_is_short(short);
        }
        sleep(if usage.percent() < 50 { SELDOM } else { OFTEN }).await;
    }
}

fn tell(short: bool, Usage { used, limit }: Usage) {
    if short {
        let help = "raise the memory limit, or lower `connections`; until then few requests are served at a time";
        tracing::warn!(used, limit, help, "memory is nearly used up");
    } else {
        tracing::info!(used, limit, "there is memory again");
    }
}

/// How much memory a control group uses, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Usage {
    used: u64,
    limit: u64,
}

impl Usage {
    /// None where the group has no limit.
    fn of(group: &Path) -> Option<Self> {
        let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
        // Without a limit this is `max`.
        if let Some(limit) = number("memory.max") {
            return Some(Self { used: number("memory.current")?, limit }.without(group, "inactive_file "));
        }
        // Without a limit this is more than any machine has.
        let limit = number("memory.limit_in_bytes")?;
        Some(Self { used: number("memory.usage_in_bytes")?, limit }.without(group, "total_inactive_file "))
    }

    /// Without what that line of the group's statistics tells: files that the kernel keeps and can drop at any time are nobody's
    /// need. To add them up is work for the kernel, which is done only where it matters.
    fn without(self, group: &Path, name: &str) -> Self {
        if self.percent() < ENOUGH {
            return self;
        }
        let statistics = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        let told = statistics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        Self { used: self.used.saturating_sub(told.unwrap_or_default()), ..self }
    }

    fn percent(self) -> u64 {
        self.used.saturating_mul(100).checked_div(self.limit).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(files: &[(&str, &str)]) -> Option<Usage> {
        let group = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(group.path().join(name), text).unwrap();
        }
        Usage::of(group.path())
    }

    #[test]
    fn what_the_kernel_can_drop_is_not_used() {
        let (max, current) = (("memory.max", "1000\n"), ("memory.current", "900\n"));
        let stat = ("memory.stat", "anon 700\ninactive_file 100\nactive_file 100\ntotal_inactive_file 200\n");
        let (limit, usage_in_bytes) = (("memory.limit_in_bytes", "1000\n"), ("memory.usage_in_bytes", "900\n"));
        for (files, expected) in [
            (&[max, current, stat][..], Some((800, 1000))),
            (&[max, ("memory.current", "799\n"), stat], Some((799, 1000))),
            (&[max, current], Some((900, 1000))),
            (&[limit, usage_in_bytes, stat], Some((700, 1000))),
            (&[("memory.max", "max\n"), current, stat], None),
            (&[], None),
        ] {
            assert_eq!(usage(files), expected.map(|(used, limit)| Usage { used, limit }), "{files:?}");
        }
        assert_eq!(Usage { used: 800, limit: 1000 }.percent(), 80);
    }

    #[test]
    fn a_group_is_bounded_by_those_that_it_is_part_of() {
        let groups = |line| hierarchy(line).map(|(root, own)| within(root, own)).unwrap_or_default();
        for (line, expected) in [
            ("0::/", &["/sys/fs/cgroup"][..]),
            ("0::/a/b", &["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"]),
            ("4:memory:/a:b", &["/sys/fs/cgroup/memory/a:b", "/sys/fs/cgroup/memory"]),
            ("3:cpu,cpuacct:/a", &[]),
            ("nothing of the kind", &[]),
        ] {
            assert_eq!(groups(line), expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{line}");
        }
    }
}
