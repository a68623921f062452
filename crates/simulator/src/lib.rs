//! A simulator of the whole service: the real application on the real SQL, in a world whose every mishap is drawn from a seed.

mod acknowledged;
mod at_stripe;
pub mod checker;
mod checkouts;
pub mod dice;
pub mod evidence;
pub mod fault;
mod fixed;
mod forgers;
pub mod history;
mod mended;
mod mending;
mod order;
mod outside;
mod passwords;
pub mod replicas;
pub mod run;
pub mod shown;
pub mod shrink;
mod signed;
mod slips;
pub mod surroundings;
pub mod swarm;
pub mod trouble;
pub mod users;
mod witness;
pub mod world;
