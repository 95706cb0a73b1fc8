mod announce;
mod reply;
mod tiers;
mod udp;
