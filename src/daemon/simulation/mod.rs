//! A simulation of whole lives: the real loop, builds and database on an engine in memory and a clock that is turned by
//! hand, through weeks of commands, reloads and faults.
//!
//! ```text
//!   Dice ─▶ steps ─▶ World: files, people, engine, clocks ─▶ Hearthd: the real loop ─▶ Between: faults, sudden ends ─▶ engine
//!                      │                                                                    │
//!                      └─ check: what must hold ◀── Watchman: every call, Timetable: every turn ◀──────┘
//! ```
//!
//! Every history comes from its seed alone. `SEED=17` plays one again and prints it; `SIM_YEARS=1000` plays as many as
//! make so many workspace-years.

mod check;
mod declared;
mod dice;
mod faults;
mod files;
mod found;
mod hearthd;
mod left;
mod measured;
mod mutants;
mod people;
mod renewed;
mod run;
mod scheduled;
mod steps;
mod time;
mod timetable;
mod visitors;
mod watchman;
mod world;
