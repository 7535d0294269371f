//! Each endpoint, each error, each way in.

mod acting;
mod connections;
mod entering;
mod hostile;
mod inside;
mod reading;
