//! A control group that bounds memory.

use std::fs;
use std::path::{Path, PathBuf};

/// A control group of this test's own. Dropped, it is gone; its processes must have ended.
pub struct Group {
    directory: PathBuf,
    /// The file that says how much memory it may have.
    limit: &'static str,
    usage: &'static str,
}

impl Group {
    /// One beside the group of this process, without a limit; none where this process may not make any.
    pub fn make(name: &str) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = |mark: &str| own.lines().find_map(|line| Some(line.split_once(mark)?.1.to_owned()));
        let (root, own, limit, usage) = match path(":memory:/") {
            Some(own) => ("/sys/fs/cgroup/memory", own, "memory.limit_in_bytes", "memory.usage_in_bytes"),
            None => ("/sys/fs/cgroup", path("0::/")?, "memory.max", "memory.current"),
        };
        let own = Path::new(root).join(own);
        let directory = own.parent().filter(|parent| parent.starts_with(root)).unwrap_or(&own).join(name);
        fs::create_dir(&directory).ok()?;
        let group = Self { directory, limit, usage };
        // Without the controller there would be no such file.
        group.directory.join(limit).is_file().then_some(group)
    }

    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// What its processes use, in bytes.
    pub fn usage(&self) -> u64 {
        fs::read_to_string(self.directory.join(self.usage)).unwrap().trim().parse().unwrap()
    }

    /// How much they may use from now on, in bytes.
    pub fn limit(&self, bytes: u64) {
        fs::write(self.directory.join(self.limit), bytes.to_string()).unwrap();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.directory);
    }
}
