//! Each endpoint, each error, each way in.

mod acting;
mod connections;
mod entering;
mod homes;
mod hostile;
mod inside;
mod reading;
