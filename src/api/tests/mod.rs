//! Each endpoint, each error, each way in.

mod acting;
mod connections;
mod entering;
mod holding;
mod homes;
mod hostile;
mod inside;
mod reading;
