//! What subscribers are given behind narrow links: the goals of downlink adaptation, one test each, and plots of what happens.

mod crowd;
mod demand;
mod download;
mod goals;
mod matrix;
mod measure;
mod narrow;
mod plot;
mod remb;
mod scenario;
mod single;
mod sound;
mod spatial;
mod start;
mod unprobed;
