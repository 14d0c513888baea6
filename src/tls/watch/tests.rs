//! Reports of changes in real directories.

use super::*;
