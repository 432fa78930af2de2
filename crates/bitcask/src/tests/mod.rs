//! Tests of the whole engine, on the simulated disk where durability is concerned.

mod engine;
mod leftovers;
