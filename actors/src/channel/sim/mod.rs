//! Many machines in a world with a clock, a network and disks of its own: links break, nodes crash
//! before or after a commit, partitions come and go, and some members do what they like. In the end all
//! that was acknowledged is everywhere, once, in the same order.
//!
//! For tests, and for the fuzz target `sync` (the feature `fuzz`).

#![allow(
    clippy::unwrap_used,
    reason = "it is a test bench: what is wrong is to be seen"
)]

mod disk;
mod effects;
mod rogue;
mod world;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_hostile;

use std::time::Duration;

use rogue::Script;
use world::World;

/// Two honest members and a hostile one, which does what the bytes say, whatever they are. Panics if a
/// machine does, or if the honest ones then do not agree on everything that they acknowledged.
pub fn fuzz_sync(script: &[u8]) {
    let mut world = World::new(u64::from(script.first().copied().unwrap_or(0)), 2);
    let rogue = world.add_rogue();
    world.mesh();
    world.run(Duration::from_secs(3));
    let mut script = Script(script);
    for n in 0..MAX_DEEDS {
        if script.is_empty() {
            break;
        }
        world.mischief(rogue, &mut script);
        if n % 8 == 0 {
            world.say(n / 8 % 2, "meanwhile");
        }
        let pause = u64::from(script.byte()) * 10;
        world.run(Duration::from_millis(pause));
        world.mesh();
    }
    world.settle();
    world.assert_converged("fuzzed");
}

/// What the bytes can make the hostile member do.
const MAX_DEEDS: usize = 64;
