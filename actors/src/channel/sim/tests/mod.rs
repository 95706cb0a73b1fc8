//! Tests of machines in the simulated world.

mod hostile;
mod worlds;
