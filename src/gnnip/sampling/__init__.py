"""What makes structures: water clusters and anions, point charges, molecular dynamics with any
engine, packed liquids, normal modes, displaced paths; one module per system of the papers."""
