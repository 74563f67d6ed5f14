"""Part of a vertex shader: lines with soft borders, of any width in pixels."""

RIBBON = """
#version 330 core
uniform vec2 viewport;    // pixels
uniform float half_width; // pixels
noperspective out float distance;  // pixels from the line's middle

// One line per instance: a screen-aligned ribbon of four vertices, one pixel wider than the line for its soft border.
// Its ends in clip space, and the z-depth, which is clip w, where it is cut.
vec4 ribbon(vec4 a, vec4 b, float nearest) {
    distance = 0.0;
    if (a.w < nearest && b.w < nearest) return vec4(2.0, 2.0, 2.0, 1.0);  // behind the camera: clipped away
    if (a.w < nearest) a = mix(a, b, (nearest - a.w) / (b.w - a.w));
    if (b.w < nearest) b = mix(b, a, (nearest - b.w) / (a.w - b.w));
    vec2 along = (b.xy / b.w - a.xy / a.w) * viewport;
    along = dot(along, along) > 1e-12 ? normalize(along) : vec2(1.0, 0.0);
    distance = (gl_VertexID & 1) == 0 ? -half_width - 1.0 : half_width + 1.0;
    vec4 clip = gl_VertexID < 2 ? a : b;
    clip.xy += vec2(-along.y, along.x) * distance * 2.0 / viewport * clip.w;
    return clip;
}
"""
