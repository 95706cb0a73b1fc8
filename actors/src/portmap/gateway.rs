//! Finds the router: the gateway of the system's default IPv4 route.

use std::net::Ipv4Addr;

/// The router's address, or `None` if the system does not tell, as on anything but Linux: then only UPnP, which searches
/// by multicast, can find it.
pub(super) fn default_gateway() -> Option<Ipv4Addr> {
    if cfg!(target_os = "linux") {
        gateway_in(&std::fs::read_to_string("/proc/net/route").ok()?)
    } else {
        None
    }
}

/// The gateway of the best default route in Linux's table (`proc_net(5)`): fields separated by tabs, addresses in
/// hexadecimal and native byte order.
fn gateway_in(table: &str) -> Option<Ipv4Addr> {
    /// `RTF_UP` and `RTF_GATEWAY` of `linux/route.h`.
    const USABLE: u16 = 0x1 | 0x2;
    let routes = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let address = |text: &str| {
            let bits = u32::from_str_radix(text, 16).ok()?;
            Some(Ipv4Addr::from(bits.to_ne_bytes()))
        };
        let target = address(fields.next()?)?;
        let gateway = address(fields.next()?)?;
        let flags = u16::from_str_radix(fields.next()?, 16).ok()?;
        // After two counters that Linux no longer maintains.
        let metric: u32 = fields.nth(2)?.parse().ok()?;
        let mask = address(fields.next()?)?;
        let default = target.is_unspecified() && mask.is_unspecified();
        (default && flags & USABLE == USABLE).then_some((metric, gateway))
    });
    routes.min().map(|(_, gateway)| gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_best_default_route_leads_to_the_router() {
        let head =
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
        let lan = "eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n";
        let wifi = "wlan0\t00000000\t0102A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n";
        let cable = "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n";
        let tunnel = "tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n";
        assert_eq!(gateway_in(&[head, lan].concat()), None);
        let all = [head, lan, wifi, cable, tunnel].concat();
        assert_eq!(gateway_in(&all), Some(Ipv4Addr::new(192, 168, 1, 1)));
        for broken in [
            "",
            "x",
            "x\ny",
            "h\neth0\tzz\t0\t0",
            "h\neth0\t00000000\t0101A8C0\t0003",
        ] {
            assert_eq!(gateway_in(broken), None, "{broken:?}");
        }
    }
}
