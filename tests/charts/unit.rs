//! The systemd unit, as systemd's own tools see it.

use std::fs;

use tempfile::TempDir;

use crate::tools::{Tool, root};

#[test]
fn systemd_takes_the_unit_and_finds_it_well_shut_in() {
    let Some(systemd) = Tool::find("systemd-analyze") else { return };
    let unit = fs::read_to_string(root("deploy/bearward.service")).unwrap();
    // It asks for the program where packages put it.
    let unit = unit.replace("/usr/bin/bearward ", &format!("{} ", env!("CARGO_BIN_EXE_bearward")));
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("bearward.service");
    fs::write(&path, unit).unwrap();
    let path = path.to_str().unwrap();
    let done = systemd.run(&["verify", "--man=no", path]);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && !said.contains("bearward.service:"), "{said}");
    // Of ten: what is left is the network, which it is for.
    systemd.output(&["security", "--offline=true", "--threshold=20", path]);
}
