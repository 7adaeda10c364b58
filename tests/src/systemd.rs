//! A container that is a whole machine: Debian with systemd as its first process.

use crate::{docker::Container, wait::wait_for};

impl Container {
    /// A machine that is up.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn machine() -> Self {
        let machine = Self::run(&[
            "--cap-add=SYS_ADMIN",
            "--security-opt=seccomp=unconfined",
            "--security-opt=apparmor=unconfined",
            "--tmpfs=/run",
            "--tmpfs=/run/lock",
            "--volume=/sys/fs/cgroup:/sys/fs/cgroup",
            "wayside-test-debian:12",
        ]);
        wait_for("systemd to be up", || machine.does("systemctl is-system-running").then_some(()));
        machine
    }

    /// Whether this unit is active.
    ///
    /// # Panics
    /// When the engine does not answer.
    pub fn is_active(&self, unit: &str) -> bool {
        self.does(&format!("systemctl is-active --quiet {unit}"))
    }

    /// Waits for that.
    ///
    /// # Panics
    /// When it never is.
    pub fn wait_until_active(&self, unit: &str) {
        wait_for(format!("{unit} to be active"), || self.is_active(unit).then_some(()));
    }

    /// What systemd knows of a unit.
    ///
    /// # Panics
    /// When it does not say.
    pub fn shown(&self, unit: &str, property: &str) -> String {
        self.shell(&format!("systemctl show --property={property} --value {unit}")).trim().to_owned()
    }
}
