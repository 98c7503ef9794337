//! How to see and change one outside thing: a folder each.
