"""What makes structures: random water clusters, Langevin and ring-polymer dynamics, the water
anion, random point charges."""
