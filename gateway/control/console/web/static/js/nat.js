// The customary classes of networks, from the terms of RFC 4787 that devices use.

/** @type {Record<string, string>} of a mapping that is one for all destinations, by its filtering */
const cones = { open: "full-cone", endpoint_independent: "full-cone", address_dependent: "address-restricted", address_and_port_dependent: "port-restricted" };

/**
 * The class of a network that a device describes as MAPPING/FILTERING, or by one word.
 * @param {string | undefined} nat
 * @returns {string} empty: not known
 */
export function natClass(nat) {
	if (!nat) return "";
	const [mapping, filtering = ""] = nat.split("/");
	switch (mapping) {
		case "open":
			return filtering === "open" || filtering === "endpoint_independent" || !filtering ? "open" : "firewall";
		case "endpoint_independent":
			return cones[filtering] ?? "cone";
		case "address_dependent":
		case "address_and_port_dependent":
			return "symmetric";
		case "translated":
			return "nat";
		case "ipv6_only":
			return "ipv6-only";
		case "udp_blocked":
			return "udp-blocked";
	}
	return mapping.slice(0, 40);
}
