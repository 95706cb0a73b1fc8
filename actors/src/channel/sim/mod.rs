//! Many machines in a world with its own clock, network and disks: links break, nodes crash before or after a commit,
//! partitions come and go, and some members are hostile. In the end, every acknowledged event is at every honest member,
//! once, in the same order.
//!
//! For tests, and for the fuzz target `sync` (the feature `fuzz`).

#![allow(clippy::unwrap_used, reason = "a test bench: faults are to be seen")]

mod author;
mod disk;
mod effects;
mod rogue;
mod world;

#[cfg(test)]
mod tests;

use std::time::Duration;

use rogue::Script;
use world::World;

/// Runs two honest members and a hostile one that the bytes of `script` drive. Panics if a machine does, or if the honest
/// members do not agree in the end on everything that they acknowledged.
pub fn fuzz_sync(script: &[u8]) {
    let mut world = World::new(u64::from(script.first().copied().unwrap_or(0)), 2);
    let rogue = world.add_rogue();
    world.mesh();
    world.run(Duration::from_secs(3));
    let mut script = Script(script);
    for n in 0..MAX_STEPS {
        if script.is_empty() {
            break;
        }
        world.mischief(rogue, &mut script);
        if n % 8 == 0 {
            world.write(n / 8 % 2, "meanwhile");
        }
        let pause = u64::from(script.byte()) * 10;
        world.run(Duration::from_millis(pause));
        world.mesh();
    }
    world.settle();
    world.assert_converged("fuzzed");
}

/// Steps of the hostile member, at most.
const MAX_STEPS: usize = 64;
